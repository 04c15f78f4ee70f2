"""A file of a session from the daemon's blob socket, by pieces, several in flight, its hash checked. Knows no zmq."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from daemon.protocol.commands import AnyResult, Blob, Command, Failed, GetBlob
from daemon.protocol.errors import NegError

PIECE_BYTES = 262_144
MAX_PIECES_IN_FLIGHT = 8
MAX_FETCHES = 3
BUSY_SECONDS = 0.1

Ask = Callable[[Command, float], Awaitable[tuple[AnyResult, list[bytes]]]]
"""A command and how many seconds it may take -> its result and what is attached to it."""


async def fetch(ask: Ask, session: str, path: str, seconds: float) -> bytes:
    """A whole file. Raises `NegError` `not_found`, `conflict` (it keeps changing), `corrupt`, or what `ask` raises."""
    for _ in range(MAX_FETCHES):
        content = await _fetch_once(ask, session, path, seconds)
        if content is not None:
            return content
    raise NegError("conflict", f"{path} of {session} changes while it is read.", "Try again when it is finished.")


async def _fetch_once(ask: Ask, session: str, path: str, seconds: float) -> bytes | None:
    """A file, or None where it was replaced meanwhile."""
    first, piece = await _piece(ask, session, path, 0, seconds)
    content = bytearray(first.size)
    content[: len(piece)] = piece
    offsets = iter(range(len(piece), first.size, PIECE_BYTES)) if piece else iter(())
    is_same = len(piece) > 0 or first.size == 0

    async def fetch_rest() -> None:
        nonlocal is_same
        for offset in offsets:
            blob, piece = await _piece(ask, session, path, offset, seconds)
            is_same = is_same and blob.sha256 == first.sha256 and len(piece) == min(PIECE_BYTES, first.size - offset)
            content[offset : offset + len(piece)] = piece

    await asyncio.gather(*(fetch_rest() for _ in range(MAX_PIECES_IN_FLIGHT)))
    if not is_same:
        return None
    if hashlib.sha256(content).hexdigest() != first.sha256:
        raise NegError("corrupt", f"{path} of {session} came damaged.", "Try again.", retryable=True)
    return bytes(content)


async def _piece(ask: Ask, session: str, path: str, offset: int, seconds: float) -> tuple[Blob, bytes]:
    while True:
        result, attachments = await ask(GetBlob(session=session, path=path, offset=offset, length=PIECE_BYTES), seconds)
        if isinstance(result, Failed):
            if result.error.code not in ("rate_limited", "busy"):
                raise NegError.from_detail(result.error)
            await asyncio.sleep(BUSY_SECONDS)
            continue
        if not isinstance(result, Blob) or len(attachments) != 1:
            raise NegError("internal", f"A piece was asked for, {type(result).__name__} came.")
        return result, attachments[0]
