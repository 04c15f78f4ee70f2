from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from daemon.models.headers import MAX_HEADER_BYTES, read_header
from daemon.protocol.errors import NegError


def _raw(path: Path, header: bytes, content: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + content)
    return path


def test_names_shapes_places_and_metadata_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"weight": weight, "half": np.ones(4, np.float16)}, path, metadata={"rank": "4"})
    header = read_header(path)
    tensor = header.tensors["weight"]
    assert (tensor.dtype, tensor.shape, tensor.num_parameters) == ("F32", (2, 3), 6)
    assert path.read_bytes()[tensor.start : tensor.end] == weight.tobytes()
    assert header.metadata == {"rank": "4"}
    assert header.num_parameters() == 10


@pytest.mark.parametrize(
    ("header", "content"),
    [
        (b"[]", b""),
        (b"{", b""),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b"1234"),
        (b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', b"1234"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"123"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"12345"),
        (b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}', b""),
        (b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"1"),
        (b'{"a":7}', b""),
        (b"[" * 200_000, b""),
    ],
)
def test_broken_headers_are_told(tmp_path: Path, header: bytes, content: bytes) -> None:
    with pytest.raises(NegError) as caught:
        read_header(_raw(tmp_path / "a.safetensors", header, content))
    assert caught.value.detail.code == "corrupt"


def test_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}")
    with pytest.raises(NegError, match="allowed"):
        read_header(path)
    many = {f"t{index}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for index in range(8193)}
    with pytest.raises(NegError, match="8193 tensors"):
        read_header(_raw(path, json.dumps(many).encode()))
    path.write_bytes(b"123")
    with pytest.raises(NegError, match="too short"):
        read_header(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzz.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(NegError):
        assert read_header(path).tensors.keys() is not None
