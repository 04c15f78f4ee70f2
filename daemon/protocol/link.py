"""The line between the front and one worker: length-prefixed msgpack over a socketpair."""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import AnyEvent, Residents
from daemon.protocol.orders import Order
from daemon.protocol.specs import JobSpec, ModelSpec

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class LinkMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type"):
    """Base of what travels on the link."""


class RunUnit(LinkMessage, frozen=True, kw_only=True):
    """Run a job's recipe on its session folder. All that comes back bears `fence`."""

    job_id: str
    fence: int
    spec: JobSpec
    session_path: str


class InterruptUnit(LinkMessage, frozen=True, kw_only=True):
    """Stop at the next step boundary."""

    job_id: str
    how: Literal["cancel", "pause"]


class OrderUnit(LinkMessage, frozen=True, kw_only=True):
    """An order for the unit that runs; nothing happens where none of this job does."""

    job_id: str
    order: Order


class WatchPreviews(LinkMessage, frozen=True, kw_only=True):
    wanted: bool


class HoldModel(LinkMessage, frozen=True, kw_only=True):
    """Between units: have a model in memory. `label` is what people call it."""

    model: ModelSpec
    label: str


class DropModels(LinkMessage, frozen=True, kw_only=True):
    """Between units: give all memory back."""


class StopWorker(LinkMessage, frozen=True, kw_only=True):
    pass


ToWorker = RunUnit | InterruptUnit | OrderUnit | WatchPreviews | HoldModel | DropModels | StopWorker


class WorkerReady(LinkMessage, frozen=True, kw_only=True):
    pid: int


class Alive(LinkMessage, frozen=True, kw_only=True):
    """Sent every second by a thread of the worker, with the steps taken so far."""

    num_steps: int
    phase: str = ""


class WorkerTold(LinkMessage, frozen=True, kw_only=True):
    """What concerns no unit. The worker does not know its own name."""

    event: Residents


class UnitTold(LinkMessage, frozen=True, kw_only=True):
    job_id: str
    fence: int
    event: AnyEvent


class UnitEnded(LinkMessage, frozen=True, kw_only=True):
    """`done`, `paused`, `cancelled`, or `failed` with its error."""

    job_id: str
    fence: int
    outcome: Literal["done", "paused", "cancelled", "failed"]
    error: ErrorDetail | None = None
    timings: dict[str, float] = {}


FromWorker = WorkerReady | Alive | WorkerTold | UnitTold | UnitEnded

PREFIX_BYTES = 4
_encoder = msgspec.msgpack.Encoder()
_to_worker_decoder = msgspec.msgpack.Decoder(ToWorker)
_from_worker_decoder = msgspec.msgpack.Decoder(FromWorker)


def pack(message: ToWorker | FromWorker) -> bytes:
    """A message as it goes on the line: 4 bytes of length, big endian, then msgpack. Raises `NegError` `too_large`."""
    body = _encoder.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise NegError("too_large", f"A {type(message).__name__} of {len(body)} bytes does not go between front and worker.")
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


def unpack_length(prefix: bytes) -> int:
    """The length of the message after these 4 bytes; raises `NegError` `bad_frame` where no message is so long."""
    length = int.from_bytes(prefix, "big")
    if not 0 < length <= MAX_MESSAGE_BYTES:
        raise NegError("bad_frame", f"A message of {length} bytes was announced between front and worker.")
    return length


def unpack_to_worker(body: bytes) -> ToWorker:
    """Raises `NegError` `bad_frame` for anything else."""
    return cast(ToWorker, _unpack(_to_worker_decoder, body))


def unpack_from_worker(body: bytes) -> FromWorker:
    """Raises `NegError` `bad_frame` for anything else."""
    return cast(FromWorker, _unpack(_from_worker_decoder, body))


def _unpack(decoder: msgspec.msgpack.Decoder[ToWorker] | msgspec.msgpack.Decoder[FromWorker], body: bytes) -> ToWorker | FromWorker:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise NegError("bad_frame", f"A message between front and worker cannot be read: {error}"[:500]) from None
