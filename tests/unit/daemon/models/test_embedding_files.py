"""Embedding files are judged by their header; what is none for SDXL is refused in words."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from daemon.models.embedding_files import PLACEHOLDER_KEY, check_embedding_file, placeholder_token
from daemon.protocol.errors import NegError


def write(path: Path, metadata: dict[str, str] | None = None, **shapes: tuple[int, ...]) -> Path:
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path, metadata=metadata)
    return path


def test_files_for_both_encoders_are_taken_whoever_made_them(tmp_path: Path) -> None:
    for number, shapes in enumerate(({"clip_l": (3, 64), "clip_g": (3, 96)}, {"clip_l": (64,), "clip_g": (1, 96)})):
        path = write(tmp_path / f"{number}.safetensors", **shapes)
        check_embedding_file(path)
        assert placeholder_token(path) is None
    assert placeholder_token(write(tmp_path / "own.safetensors", {PLACEHOLDER_KEY: "<wrong>"}, clip_l=(1, 4), clip_g=(1, 4))) == "<wrong>"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"emb_params": (1, 768)}, "holds no clip_l and clip_g"),
        ({"clip_l": (3, 64)}, "holds no clip_l and clip_g"),
        ({"clip_l": (3, 64), "clip_g": (2, 96)}, r"\(3, 64\) and \(2, 96\)"),
        ({"clip_l": (76, 2), "clip_g": (76, 2)}, "76 vectors"),
        ({"clip_l": (1, 2, 3), "clip_g": (1, 2, 3)}, "shapes"),
    ],
)
def test_others_are_refused(tmp_path: Path, shapes: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(NegError, match=words) as caught:
        check_embedding_file(write(tmp_path / "one.safetensors", **shapes))
    assert caught.value.detail.code == "incompatible"


def test_pickled_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "learned_embeds.bin"
    path.write_bytes(b"")
    with pytest.raises(NegError, match=r"no \.safetensors"):
        check_embedding_file(path)
