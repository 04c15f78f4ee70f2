"""Pictures, their bytes, and folders of them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from daemon.protocol.specs import ImageRecord, ImageRequest
from daemon.protocol.training_spec import TrainingSpec


def picture(seed: int = 0, width: int = 16, height: int = 16) -> Image.Image:
    """Noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_bytes(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def fill(folder: Path, *sizes: tuple[int, int], first: int = 0) -> Path:
    """A folder with a picture of each (height, width): 0.png, 1.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (height, width) in enumerate(sizes, start=first):
        picture(number, width, height).save(folder / f"{number}.png")
    return folder


def request(**changes: Any) -> ImageRequest:
    settings: dict[str, Any] = {
        "base_sha256": "b",
        "torch_dtype": "float32",
        "prompt": "p",
        "seed": 0,
        "guidance_scale": 8,
        "num_inference_steps": 5,
        "width": 64,
        "height": 64,
    }
    return ImageRequest(**settings | changes)


def manifest_line(name: str, status: str = "undecided", **changes: Any) -> bytes:
    """A line of `manifest.jsonl` about `<name>.png`."""
    record = ImageRecord(id=name, path=f"dataset/{name}.png", sha256="", request=request(**changes), status=status)  # type: ignore[arg-type]
    return msgspec.json.encode(record) + b"\n"


def spec(**changes: Any) -> TrainingSpec:
    return TrainingSpec(**{"resolution": 32, "gradient_accumulation_steps": 1, "seed": 7} | changes)
