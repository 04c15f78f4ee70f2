"""What is in a safetensors file, read from its first bytes alone, within limits: files come from strangers. Free of torch."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.protocol.errors import NegError

MAX_HEADER_BYTES = 4 * 2**20
MAX_TENSORS = 8192

BYTES_OF_DTYPE = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


@dataclass(frozen=True)
class TensorHeader:
    """One tensor: safetensors' dtype name, shape, and where its bytes lie, counted from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def num_parameters(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """All tensors of a file by name, and its free metadata."""

    tensors: dict[str, TensorHeader]
    metadata: dict[str, str]

    def num_parameters(self) -> int:
        return sum(tensor.num_parameters for tensor in self.tensors.values())


def read_header(path: Path) -> Header:
    """The header of a safetensors file; raises `NegError` `corrupt` where the file is not one, is cut, or exceeds the limits."""
    with path.open("rb") as file:
        size = path.stat().st_size
        prefix = file.read(8)
        if len(prefix) < 8:
            raise _broken(path, "it is too short")
        (length,) = struct.unpack("<Q", prefix)
        if length > MAX_HEADER_BYTES:
            raise _broken(path, f"its header claims {length} bytes ({MAX_HEADER_BYTES} are allowed)")
        raw = file.read(length)
    try:
        entries = json.loads(raw, object_pairs_hook=_without_duplicates)
        if not isinstance(entries, dict):
            raise ValueError("its header is no table")
        metadata = {str(key): str(value) for key, value in dict(entries.pop("__metadata__", {})).items()}
        if len(entries) > MAX_TENSORS:
            raise ValueError(f"it holds {len(entries)} tensors ({MAX_TENSORS} are allowed)")
        tensors = {name: _tensor(entry, 8 + length) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _broken(path, str(error)) from None
    end = max((tensor.end for tensor in tensors.values()), default=8 + length)
    if end != size:
        raise _broken(path, f"it is {size} bytes long, its header describes {end}")
    return Header(tensors, metadata)


def _tensor(entry: dict[str, Any], offset: int) -> TensorHeader:
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in BYTES_OF_DTYPE:
        raise ValueError(f"it holds numbers of an unknown kind, {dtype!r}"[:200])
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, start, end)):
        raise ValueError("a shape or an offset is no whole number")
    if end - start != math.prod(shape) * BYTES_OF_DTYPE[dtype]:
        raise ValueError("a tensor's length does not fit its shape")
    return TensorHeader(dtype, tuple(shape), offset + start, offset + end)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice in its header")
    return table


def _broken(path: Path, why: str) -> NegError:
    return NegError("corrupt", f"{path} is not a sound safetensors file: {why}.", "Download or export it again.")
