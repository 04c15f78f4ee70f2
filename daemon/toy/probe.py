"""The probe: a small classifier that reads shape, colour, count, background and flaws back from pictures.

Trained on drawn scenes passed through the toy's VAE, never on generated pictures, so that it judges them from outside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from daemon.files import write_atomic
from daemon.toy import PROBE_PATH, SIZE
from daemon.toy.checkpoint import load_tensors, save_tensors
from daemon.toy.scenes import BACKGROUNDS, COLOURS, COUNTS, SHAPES, parse

ATTRIBUTES: dict[str, tuple[str | int, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "count": COUNTS,
    "background": tuple(BACKGROUNDS),
}
_BATCH_SIZE = 64


@dataclass(frozen=True)
class Reading:
    """What the probe sees in one picture."""

    shape: str
    colour: str
    count: int
    background: str
    flaw_probability: float

    def agreement(self, prompt: str) -> dict[str, bool]:
        """Attribute by attribute, whether the picture shows what the prompt asks for; what it leaves open is absent."""
        asked = parse(prompt)
        wanted = {name: getattr(asked, name) for name in ATTRIBUTES} if asked else {}
        return {name: getattr(self, name) == value for name, value in wanted.items() if value is not None}

    def agrees(self, prompt: str) -> bool:
        """Whether the picture shows everything the prompt asks for."""
        return all(self.agreement(prompt).values())


class ProbeNet(nn.Module):
    """Five convolutions without norms (contrast itself is evidence): (B, 3, 64, 64) in -1..1 -> logits a head."""

    def __init__(self) -> None:
        super().__init__()
        widths, strides = (3, 16, 32, 48, 64, 64), (1, 2, 2, 2, 2)
        layers: list[nn.Module] = []
        for width, next_width, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [nn.Conv2d(width, next_width, 3, stride, 1), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (SIZE // 16) ** 2, 96), nn.ReLU())
        heads = {name: nn.Linear(96, len(values)) for name, values in ATTRIBUTES.items()}
        self.heads = nn.ModuleDict({**heads, "flaw": nn.Linear(96, 1)})
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.trunk(pixels)
        return {name: head(features) for name, head in self.heads.items()}


class Probe:
    """A loaded probe."""

    def __init__(self, net: ProbeNet) -> None:
        self.net = net.float().eval()

    @classmethod
    def load(cls, path: Path = PROBE_PATH) -> Probe:
        """The probe of a folder that `save_probe` wrote."""
        net = ProbeNet()
        tensors, _ = load_tensors(path / "probe.safetensors")
        net.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return cls(net)

    @torch.inference_mode()
    def read(self, images: Sequence[Image.Image]) -> list[Reading]:
        """One reading a picture, in order; pictures of another size are reduced to 64 x 64 first."""
        readings: list[Reading] = []
        for start in range(0, len(images), _BATCH_SIZE):
            logits = self.net(_pixels(images[start : start + _BATCH_SIZE]))
            columns = [[values[i] for i in logits[name].argmax(1).tolist()] for name, values in ATTRIBUTES.items()]
            flaws = logits["flaw"][:, 0].sigmoid().tolist()
            readings += [Reading(*row) for row in zip(*columns, flaws, strict=True)]
        return readings


def save_probe(net: nn.Module, facts: dict[str, object], path: Path = PROBE_PATH) -> None:
    """`probe.safetensors` (fp16) and `probe.json` (its accuracies and labels)."""
    save_tensors(path / "probe.safetensors", {name: t.half() for name, t in net.state_dict().items()}, {})
    card = {"labels": {name: list(values) for name, values in ATTRIBUTES.items()}, **facts}
    write_atomic(path / "probe.json", (json.dumps(card, indent=2) + "\n").encode())


def _pixels(images: Sequence[Image.Image]) -> Tensor:
    """(B, 3, 64, 64) float32 in -1..1."""
    resized = [i.convert("RGB") if i.size == (SIZE, SIZE) else i.convert("RGB").resize((SIZE, SIZE)) for i in images]
    stacked = np.stack([np.asarray(image, np.float32) for image in resized])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2) / 127.5 - 1
