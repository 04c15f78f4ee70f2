"""Nonsense through the real ROUTER of a real front: every message answered, memory flat, the next honest client served."""

import asyncio
import random
import secrets
import time
from typing import Any

import msgspec
import pytest
import zmq

from daemon.protocol import codec
from daemon.protocol.commands import (
    Attach,
    Cancel,
    ChangeSession,
    DeleteSession,
    DuplicateSession,
    GetBlob,
    Hello,
    ImportSession,
    ListFiles,
    ListImages,
    ListJobs,
    LoadModel,
    MarkImages,
    Ping,
    PlanSynthesis,
    Prioritise,
    ReadComparison,
    ReadEvents,
    ReadSession,
    RestoreMarks,
    Steer,
    Submit,
    WantedMark,
    WriteSession,
)
from daemon.protocol.orders import LearningRate, StopAndKeep
from negtui.client import Client
from tests.fake_recipes import job

NUM_CLIENTS = 20
PER_CLIENT_AND_SECOND = 400


def valid(generator: random.Random) -> list[bytes]:
    """An honest request that starts no work."""
    command = generator.choice(
        [
            Hello(min_protocol=1, max_protocol=1),
            Ping(last_seq=generator.randrange(1000)),
            ListJobs(),
            ReadEvents(limit=3),
            Cancel(job_id="nosuch"),
            Prioritise(job_id="x", priority=3),
            Steer(job_id="x", order=generator.choice([LearningRate(value=1e-5), StopAndKeep()])),
            ReadSession(name="fake2"),
            GetBlob(session="fake", path="x"),
            ChangeSession(name="fake2", changes={"training.rank": "8"}),
            ChangeSession(name="fake", changes={"training.nosuch": "8"}),
            WriteSession(name="fake", text="x", sha256="0"),
            DuplicateSession(name="fake2", new_name="fake3"),
            ListFiles(name="fake2", also=("cache",)),
            ImportSession(path="/nowhere/mine.zip", new_name="fake4"),
            DeleteSession(name="fake", typed="fak"),
            ListImages(session="fake", limit=3),
            MarkImages(session="fake", ids=("a", "b"), status="keep", add_tags=("t",)),
            RestoreMarks(session="fake", marks=(WantedMark(id="a", status="reject", tags=("t",)),)),
            PlanSynthesis(name="fake", changes={"synthesis.seeds": "[1]"}),
            LoadModel(session="fake2"),
            ReadComparison(session="fake", name="default"),
            Attach(credit=0),
            Submit(key="key-00000", spec=job("nosuchsession")),
        ]
    )
    return codec.encode_frames("REQ", command, id=generator.randrange(1, 2**40))


def flip(content: bytes, generator: random.Random) -> bytes:
    """Some bytes changed, dropped or doubled."""
    changed = bytearray(content)
    for _ in range(generator.randrange(1, 5)):
        at = generator.randrange(len(changed)) if changed else 0
        match generator.randrange(3):
            case 0:
                changed[at : at + 1] = bytes([generator.randrange(256)])
            case 1:
                del changed[at : at + generator.randrange(1, 9)]
            case 2:
                changed[at:at] = generator.randbytes(generator.randrange(1, 9))
    return bytes(changed)


def nonsense(generator: random.Random) -> list[bytes]:
    """A message of one of the kinds that broke others."""
    frames = valid(generator)
    match generator.randrange(9):
        case 0:
            return [generator.randbytes(generator.randrange(60)) for _ in range(generator.randrange(1, 4))]
        case 1:
            return [flip(frames[0], generator), frames[1]]
        case 2 | 3:
            return [frames[0], flip(frames[1], generator)]
        case 4:
            return frames[:1] * generator.choice([1, 5, 9, 30])
        case 5:
            return [frames[0], b"\x91" * generator.choice([10, 600, 20_000])]
        case 6:
            body = msgspec.msgpack.decode(frames[1])
            body[generator.choice([*body, "type", "zz"])] = generator.choice([None, -1, 2**63, float("nan"), "x" * 5000, [], {}, b"\xff"])
            return [frames[0], msgspec.msgpack.encode(body)]
        case 7:
            head = msgspec.msgpack.decode(frames[0])
            head[generator.randrange(6)] = generator.choice([0, 2, -1, "EVT", "REP", b"NEG", None, float("inf")])
            return [msgspec.msgpack.encode(head), frames[1]]
        case _:
            return frames


def answer(client: Any) -> bytes:
    """The body of the next reply; events come between, for some nonsense is an `Attach`."""
    while True:
        frames: list[bytes] = client.recv_multipart()
        if codec.decode_head(frames[0]).kind == "REP":
            return frames[1]


@pytest.mark.parametrize("num_messages", [5_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_every_message_is_answered_and_memory_stays_flat(front: Any, num_messages: int, record_property: Any) -> None:
    seed = secrets.randbits(32)
    record_property("seed", seed)
    generator = random.Random(seed)
    context = zmq.Context()
    clients = []
    for _ in range(NUM_CLIENTS):
        client = context.socket(zmq.DEALER)
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.SNDTIMEO, 10_000)
        client.setsockopt(zmq.RCVTIMEO, 20_000)
        client.connect(front.places.ctl_endpoint)
        clients.append(client)
    codes: dict[str, int] = {}
    warm = 0

    def exchange(client: Any, count: int) -> None:
        """`count` messages, in batches small enough to be within the limits; every one must be answered."""
        for begun in range(0, count, 10):
            size = min(10, count - begun)
            for _ in range(size):
                client.send_multipart(nonsense(generator))
            for _ in range(size):
                result = codec.decode_result(answer(client))
                code = getattr(getattr(result, "error", None), "code", "ok")
                codes[code] = codes.get(code, 0) + 1

    try:
        each = num_messages // NUM_CLIENTS
        begun = time.monotonic()
        for round_ in range(0, each, 50):
            for client in clients:
                exchange(client, min(50, each - round_))
            if round_ == 0:
                warm = front.resident_bytes()
            # Never more than the contract's rate: what is tested is not the refusal to listen.
            time.sleep(max(0.0, (round_ + 50) / PER_CLIENT_AND_SECOND - (time.monotonic() - begun)))
        assert sum(codes.values()) == num_messages, f"seed {seed}"
        assert {"ok", "bad_frame", "bad_version", "invalid", "unknown_type", "not_found"} <= set(codes), f"seed {seed}: {codes}"
        assert "internal" not in codes, f"seed {seed}: {codes}"
        assert codes.get("rate_limited", 0) < num_messages / 100, f"seed {seed}: {codes}"
        assert front.resident_bytes() - warm < 10 * 2**20, f"seed {seed}"
    finally:
        context.destroy(linger=0)

    async def honest() -> None:
        async with Client.connect(front.endpoints) as client:
            await client.request(Ping())

    asyncio.run(honest())
