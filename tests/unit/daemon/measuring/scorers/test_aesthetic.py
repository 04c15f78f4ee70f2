"""The aesthetic score is a linear head on the picture's unit vector."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_clip import pictures, save_clip

from daemon.measuring.scorers.aesthetic import HEAD_FILE, load_aesthetic
from daemon.measuring.scorers.clip import load_clip
from daemon.protocol.errors import NegError


def head(folder: Path, width: int = 16) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    found = {"layers.0.weight": torch.randn(4, width), "layers.0.bias": torch.randn(4)}
    found |= {"layers.2.weight": torch.randn(1, 4), "layers.2.bias": torch.randn(1)}
    save_file(found, folder / HEAD_FILE)
    return found


def test_it_reads_pictures_and_no_words(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "aesthetic")
    layers = head(folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    found = [values["aesthetic"] for values in load_aesthetic(folder)(pictures(), ("a", "b", "c"))]
    vectors = load_clip(folder, reads_words=False).of_pictures(pictures())
    expected = (vectors @ layers["layers.0.weight"].T + layers["layers.0.bias"]) @ layers["layers.2.weight"].T + layers["layers.2.bias"]
    assert found == pytest.approx(expected[:, 0].tolist(), rel=1e-5)


def test_a_head_of_another_clip_is_refused(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "aesthetic")
    head(folder, width=12)
    with pytest.raises(NegError, match="vectors of 12 numbers; the CLIP beside it gives 16"):
        load_aesthetic(folder)
