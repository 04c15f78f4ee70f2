from __future__ import annotations

import asyncio

import pytest
from PIL import Image

from daemon.protocol.errors import NegError
from negtui.pixels import pictures as module
from negtui.pixels.base import Choice
from negtui.pixels.pictures import Pictures, decode, thumbnail_path
from tests.fake_terminal import in_loop
from tests.sample_pictures import png, webp

IMAGE = Image.linear_gradient("L").convert("RGB").resize((800, 600))


class Disk:
    def __init__(self, *, thumbnails: bool = True) -> None:
        self.asked: list[str] = []
        self.files = {"dataset/a.png": png(IMAGE)}
        if thumbnails:
            self.files |= {thumbnail_path("dataset/a.png", pixels): webp(IMAGE, pixels) for pixels in (64, 256, 512)}

    async def fetch(self, session: str, path: str) -> bytes:
        self.asked.append(path)
        await asyncio.sleep(0)
        if path not in self.files:
            raise NegError("not_found", f"{path} of {session} is not there.")
        return self.files[path]


@pytest.mark.parametrize(("max_px", "path", "size"), [(40, "64", 64), (200, "256", 256), (512, "512", 512), (700, "", 800)])
@in_loop
async def test_the_thumbnail_that_suffices_is_fetched(max_px: int, path: str, size: int) -> None:
    disk = Disk()
    image = await Pictures(disk.fetch).get("toy", "dataset/a.png", max_px)
    assert image is not None
    assert max(image.size) == size
    assert disk.asked == [f"dataset/.thumbnails/{path}/a.webp" if path else "dataset/a.png"]


@in_loop
async def test_without_a_thumbnail_the_picture_itself_is_made_smaller() -> None:
    disk = Disk(thumbnails=False)
    image = await Pictures(disk.fetch).get("toy", "dataset/a.png", 100)
    assert image is not None
    assert image.size == (256, 192)


@in_loop
async def test_it_is_fetched_once_and_kept_while_there_is_room() -> None:
    disk = Disk()
    pictures = Pictures(disk.fetch, max_kept_bytes=256 * 192 * 3 + 10)
    assert len(set(map(id, await asyncio.gather(*(pictures.get("toy", "dataset/a.png", 200) for _ in range(5)))))) == 1
    assert len(disk.asked) == 1
    assert pictures.kept("toy", "dataset/a.png", 256) is not None
    await pictures.get("toy", "dataset/a.png", 512)
    assert pictures.kept("toy", "dataset/a.png", 256) is None


@in_loop
async def test_what_cannot_be_had_is_none_and_a_reason() -> None:
    disk = Disk()
    disk.files["dataset/broken.png"] = png(IMAGE)[:3000]
    disk.files["dataset/text.png"] = b"hello"
    pictures = Pictures(disk.fetch)
    for path, words in (("broken", "no picture"), ("text", "no picture"), ("missing", "is not there")):
        assert await pictures.get("toy", f"dataset/{path}.png", 300) is None
        assert words in pictures.reason("toy", f"dataset/{path}.png")
    assert await Pictures().get("toy", "dataset/a.png", 64) is None
    disk.files["dataset/missing.png"] = png(IMAGE)
    assert await pictures.get("toy", "dataset/missing.png", 300) is not None
    assert pictures.reason("toy", "dataset/missing.png") == ""


def test_enormous_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="too many"):
        decode(png(IMAGE))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises((Image.DecompressionBombError, Image.DecompressionBombWarning)):
        decode(png(IMAGE))


@in_loop
async def test_backends_that_need_a_way_to_the_terminal_wait_for_it() -> None:
    pictures = Pictures(None, Choice(backend="kitty", available=("kitty", "half", "off")))
    assert pictures.backend == "half"
    pictures.connect(Nowhere())
    pictures.painter.last_bytes = 142_300
    assert pictures.backend == "kitty"
    assert [pictures.cycle() for _ in range(3)] == ["half", "off", "kitty"]
    assert pictures.last_bytes == 142_300


class Nowhere:
    def send(self, *given: object) -> None: ...
