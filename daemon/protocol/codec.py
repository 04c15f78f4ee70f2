"""Bytes on the wire: `[head][body][attachment 0..4]`, msgpack, decoded strictly and never trusted.

`head` is decoded first, so that an unknown major version is refused without touching the body.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

import msgspec

from daemon.protocol.commands import AnyCommand, AnyResult
from daemon.protocol.errors import NegError
from daemon.protocol.events import AnyEvent

MAGIC = b"NEG"
MAJOR = 1
MAX_FRAME_BYTES = 256 * 1024
MAX_FRAMES = 8
MAX_REPLY_BYTES = 4 * 1024 * 1024
"""A page of an answer is kept below this."""

Kind = Literal["REQ", "REP", "EVT"]
T = TypeVar("T")


class Head(msgspec.Struct, frozen=True, array_like=True):
    """First frame. `id` ties a reply to its request; events bear `seq` (0: ephemeral) instead. `time`: Unix seconds."""

    magic: bytes
    major: int
    kind: Kind
    id: int = 0
    seq: int = 0
    time: float = 0.0


_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(Head)
_command_decoder = msgspec.msgpack.Decoder(AnyCommand)
_result_decoder = msgspec.msgpack.Decoder(AnyResult)
_event_decoder = msgspec.msgpack.Decoder(AnyEvent)


def encode(message: Any) -> bytes:
    """Any struct of the contract -> msgpack bytes."""
    return _encoder.encode(message)


def encode_frames(
    kind: Kind, body: Any, *, id: int = 0, seq: int = 0, attachments: Sequence[bytes] = (), at: float | None = None
) -> list[bytes]:
    """A whole message; `body` is a struct or bytes that `encode` gave before. `at`: Unix seconds, now by default."""
    head = Head(MAGIC, MAJOR, kind, id, seq, time.time() if at is None else at)
    return [_encoder.encode(head), body if isinstance(body, bytes) else _encoder.encode(body), *attachments]


def decode_head(frame: bytes) -> Head:
    """First frame -> `Head`; raises `NegError` `bad_frame` or `bad_version`."""
    head: Head = _decode(_head_decoder, frame, "bad_frame", "head")
    if head.magic != MAGIC:
        raise NegError("bad_frame", "This is not a negtui message.")
    if head.major != MAJOR:
        raise NegError("bad_version", f"Protocol {head.major} was asked, {MAJOR} is spoken.", "Use the same negtui version on both sides.")
    return head


def request_id(frame: bytes) -> int:
    """The id in a head that `decode_head` refuses, so that even its sender gets an answer it can place; 0 where there is none."""
    try:
        head = msgspec.msgpack.decode(frame, type=list[msgspec.Raw])
        found = msgspec.msgpack.decode(head[3], type=int) if len(head) > 3 else 0
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return 0
    return found if 0 <= found < 2**63 else 0


def decode_command(frame: bytes) -> AnyCommand:
    """Body of a REQ; raises `NegError` `unknown_type` or `invalid`."""
    return cast(AnyCommand, _decode_tagged(_command_decoder, frame, "command"))


def decode_result(frame: bytes) -> AnyResult:
    """Body of a REP; raises `NegError` `unknown_type` or `invalid`."""
    return cast(AnyResult, _decode_tagged(_result_decoder, frame, "result"))


def decode_event(frame: bytes) -> AnyEvent:
    """Body of an EVT or a stored event; raises `NegError` `unknown_type` or `invalid`."""
    return cast(AnyEvent, _decode_tagged(_event_decoder, frame, "event"))


def canonical_sha256(struct: Any) -> str:
    """Hash of a struct's canonical JSON (sorted keys): equal settings, equal hash, on every machine and version."""
    return hashlib.sha256(msgspec.json.encode(struct, order="sorted")).hexdigest()


def pretty_json(struct: Any) -> bytes:
    """JSON for files that people read too: indented, in the order of the fields, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(struct), indent=2) + b"\n"


def fitting(structs: Sequence[T]) -> tuple[T, ...]:
    """The first of them that fit into one answer; at least one, if there is one."""
    size = 0
    for count, struct in enumerate(structs):
        size += len(_encoder.encode(struct))
        if count and size > MAX_REPLY_BYTES:
            return tuple(structs[:count])
    return tuple(structs)


def _decode_tagged(decoder: msgspec.msgpack.Decoder[Any], frame: bytes, what: str) -> Any:
    try:
        return _decode(decoder, frame, "invalid", what)
    except NegError as error:
        if "Invalid value '" in str(error) and "`$.type`" in str(error):
            raise NegError("unknown_type", f"This {what} is not known here: {error.detail.message}") from None
        raise


def _decode(decoder: msgspec.msgpack.Decoder[Any], frame: bytes, code: Literal["bad_frame", "invalid"], what: str) -> Any:
    # Fuzzed input raises UnicodeDecodeError and RecursionError too, neither a msgspec error.
    try:
        message = decoder.decode(frame)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise NegError(code, f"The {what} cannot be read: {error}"[:500]) from None
    _require_finite(message, what)
    return message


def _require_finite(value: Any, what: str) -> None:
    """msgspec lets NaN and infinity through every float field, ranges included."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NegError("invalid", f"The {what} holds a number that is not finite.")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _require_finite(getattr(value, name), what)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _require_finite(item, what)
    elif isinstance(value, dict):
        for item in value.values():
            _require_finite(item, what)
