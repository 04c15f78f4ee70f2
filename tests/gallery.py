"""Sessions whose pictures are really there, for what is to be seen: smooth photos, each another, with the manifest that names them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from daemon.manifest import write_manifest
from daemon.protocol.specs import ImageRecord, ImageRequest
from tests.sample_pictures import photo, png, webp


def hang(session_path: Path, num_pictures: int, side: int = 256, roughness: float = 2.0) -> list[Image.Image]:
    """So many pictures into `dataset/`, with the daemon's thumbnails; they are returned in the order in which they are listed."""
    folder = session_path / "dataset"
    (folder / ".thumbnails/256").mkdir(parents=True)
    pictures = [photo(side, roughness=roughness, seed=number) for number in range(num_pictures)]
    for number, picture in enumerate(pictures):
        (folder / f"{number:032x}.png").write_bytes(png(picture))
        (folder / f".thumbnails/256/{number:032x}.webp").write_bytes(webp(picture, 256))
    write_manifest(folder / "manifest.jsonl", [_record(number, side) for number in range(num_pictures)])
    return pictures


def _record(number: int, side: int) -> ImageRecord:
    request = ImageRequest(
        base_sha256="b", torch_dtype="float32", prompt=f"photo {number}", seed=number, guidance_scale=5.0, num_inference_steps=4,
        width=side, height=side,
    )  # fmt: skip
    return ImageRecord(id=f"{number:032x}", path=f"dataset/{number:032x}.png", sha256="0", request=request, keyword="blurry", weight="++++")
