"""Pictures of sessions for the screens: fetched from the daemon at the size needed, decoded in threads, kept while there is room."""

from __future__ import annotations

import asyncio
import io
import warnings
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath

from PIL import Image

from daemon.protocol.errors import NegError
from negtui.pixels.base import Backend, Choice, Sender
from negtui.pixels.painter import Painter

THUMBNAIL_PIXELS = (64, 256, 512)
"""As the daemon makes them beside each picture: `.thumbnails/<pixels>/<name>.webp`."""
MAX_KEPT_BYTES = 48 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_FETCHES = 4
FORMATS = ("PNG", "WEBP", "JPEG", "BMP", "GIF", "TIFF")

Fetch = Callable[[str, str], Awaitable[bytes]]
Key = tuple[str, str, int]


class Pictures:
    """`get` fetches; the rest is how pictures are drawn on this terminal (`painter`)."""

    def __init__(self, fetch: Fetch | None = None, choice: Choice | None = None, *, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self.painter = Painter(choice)
        self.fetch = fetch
        self._max_kept_bytes = max_kept_bytes
        self._kept: OrderedDict[Key, Image.Image] = OrderedDict()
        self._num_kept_bytes = 0
        self._reasons: dict[tuple[str, str], str] = {}
        self._running: dict[Key, asyncio.Task[Image.Image | None]] = {}
        self._fetches = asyncio.Semaphore(MAX_FETCHES)

    @property
    def backend(self) -> Backend:
        return self.painter.backend

    @property
    def last_bytes(self) -> int:
        return self.painter.last_bytes

    def connect(self, sender: Sender) -> None:
        self.painter.connect(sender)

    def cycle(self) -> Backend:
        """The next backend that this terminal has; `i`."""
        return self.painter.cycle()

    def resend(self) -> None:
        """Draw and send every picture again; `ctrl+l`, and after the terminal was away."""
        self.painter.resend()

    def leave(self) -> str:
        """What is written to the terminal when the screen is left."""
        return self.painter.leave()

    def reason(self, session: str, path: str) -> str:
        """Why the last `get` of this picture gave None, in words."""
        return self._reasons.get((session, path), "")

    def kept(self, session: str, path: str, max_px: int) -> Image.Image | None:
        """The picture, where it is in memory."""
        key = (session, path, _step(max_px))
        image = self._kept.get(key)
        if image is not None:
            self._kept.move_to_end(key)
        return image

    async def get(self, session: str, path: str, max_px: int) -> Image.Image | None:
        """The picture with at least `max_px` pixels on its longer side, if it has as many; None where it cannot be had (`reason`)."""
        found = self.kept(session, path, max_px)
        if found is not None:
            return found
        key = (session, path, _step(max_px))
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._get(key))
            self._running[key].add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(self._running[key])

    async def _get(self, key: Key) -> Image.Image | None:
        session, path, pixels = key
        try:
            async with self._fetches:
                image = await self._fetch_and_decode(session, path, pixels)
        except NegError as error:
            self._reasons[session, path] = error.detail.message
            return None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
            self._reasons[session, path] = f"{path} is no picture that can be shown: {error}"
            return None
        self._reasons.pop((session, path), None)
        self._keep(key, image)
        return image

    async def _fetch_and_decode(self, session: str, path: str, pixels: int) -> Image.Image:
        if self.fetch is None:
            raise NegError("not_found", "There is no daemon to fetch pictures from.")
        if pixels:
            try:
                return await asyncio.to_thread(decode, await self.fetch(session, thumbnail_path(path, pixels)))
            except (NegError, OSError):
                # No thumbnail, or a broken one: the picture itself will do.
                pass
        return await asyncio.to_thread(decode, await self.fetch(session, path), pixels)

    def _keep(self, key: Key, image: Image.Image) -> None:
        self._kept[key] = image
        self._num_kept_bytes += _num_bytes(image)
        while self._num_kept_bytes > self._max_kept_bytes and len(self._kept) > 1:
            self._num_kept_bytes -= _num_bytes(self._kept.popitem(last=False)[1])


def thumbnail_path(path: str, pixels: int) -> str:
    """Where the daemon keeps the thumbnail of a picture."""
    whole = PurePosixPath(path)
    return str(whole.parent / ".thumbnails" / str(pixels) / f"{whole.stem}.webp")


def decode(content: bytes, pixels: int = 0) -> Image.Image:
    """A picture from its file's bytes, at most `pixels` a side (0: as it is). Raises what Pillow raises; `ValueError`: huge."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
            opened.load()
            image: Image.Image = opened.copy()
    if pixels:
        image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    return image


def _step(max_px: int) -> int:
    """The smallest thumbnail that suffices; 0: the picture itself."""
    return next((pixels for pixels in THUMBNAIL_PIXELS if pixels >= max_px), 0)


def _num_bytes(image: Image.Image) -> int:
    return image.width * image.height * len(image.getbands())
