"""Round trips of everything in the contract, and bytes that are not of it."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol import codec
from daemon.protocol.commands import AnyCommand, Attach, Failed, GetBlob, Hello, Ping, Pong, Steer, StoredEvents, Submit
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import Gauges, MetricsRecorded, Preview
from daemon.protocol.orders import Checkpoint, LearningRate, Sample, StopAndKeep
from daemon.protocol.specs import ModelSpec, SynthesisSpec, SynthesizeJob

texts = st.text(max_size=30)
floats = st.floats(allow_nan=False, allow_infinity=False)
specs = st.builds(
    SynthesizeJob,
    session=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
    model=st.builds(ModelSpec, base=st.text(min_size=1, max_size=30)),
    synthesis=st.builds(
        SynthesisSpec,
        keywords=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3).map(tuple),
        seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3).map(tuple),
        negative_prompt=st.none() | texts,
    ),
)
commands = st.one_of(
    st.builds(Submit, key=st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True), spec=specs, priority=st.integers(-100, 100)),
    st.builds(Attach, store_id=texts, since_seq=st.integers(0, 2**63 - 1), credit=st.integers(0, 10_000), previews=st.booleans()),
    st.builds(Hello, min_protocol=st.integers(-9, 9), max_protocol=st.integers(-9, 9), client=texts),
    st.builds(
        Steer,
        job_id=st.text(min_size=1, max_size=64),
        order=st.sampled_from([Sample(), Checkpoint(), StopAndKeep()]) | st.builds(LearningRate, value=st.floats(1e-30, 1e6)),
    ),
    st.builds(GetBlob, session=st.just("a"), path=st.text(min_size=1, max_size=30), offset=st.integers(0, 2**60)),
)
results = st.one_of(
    st.builds(
        Pong, boot_id=texts, head_seq=st.integers(0, 2**60), loop_lag_seconds=floats, workers=st.dictionaries(texts, texts, max_size=3)
    ),
    st.builds(StoredEvents, seqs=st.just((1,)), times=st.tuples(floats), events=st.tuples(st.binary(max_size=9)), head_seq=st.just(1)),
    st.builds(Failed, error=st.builds(ErrorDetail, code=st.just("busy"), message=texts, hint=texts, retryable=st.booleans())),
)
events = st.one_of(
    st.builds(Gauges, device=texts, memory_used=st.none() | st.integers(0, 2**40), power_watts=st.none() | floats),
    st.builds(Preview, job_id=texts, image_id=texts, step=st.integers(0, 99), num_steps=st.integers(0, 99), jpeg=st.binary(max_size=9)),
    st.builds(
        MetricsRecorded, job_id=texts, steps=st.tuples(st.integers(0, 9)), values=st.dictionaries(texts, st.tuples(floats), max_size=2)
    ),
)


@given(commands)
def test_commands_come_back(command: AnyCommand) -> None:
    assert codec.decode_command(codec.encode(command)) == command


@given(results)
def test_results_come_back(result: object) -> None:
    assert codec.decode_result(codec.encode(result)) == result


@given(events)
def test_events_come_back(event: object) -> None:
    assert codec.decode_event(codec.encode(event)) == event


@given(
    st.sampled_from(["REQ", "REP", "EVT"]),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(max_size=9), max_size=4),
)
def test_whole_messages_come_back(kind: codec.Kind, id: int, seq: int, attachments: list[bytes]) -> None:
    head, body, *rest = codec.encode_frames(kind, Ping(last_seq=7), id=id, seq=seq, attachments=attachments, at=12.5)
    assert codec.decode_head(head) == codec.Head(codec.MAGIC, codec.MAJOR, kind, id, seq, 12.5)
    assert codec.decode_command(body) == Ping(last_seq=7)
    assert rest == attachments
    assert codec.request_id(head) == id


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused_in_words(content: bytes) -> None:
    refused = []
    for decode in (codec.decode_head, codec.decode_command, codec.decode_result, codec.decode_event):
        try:
            decode(content)
        except NegError as error:
            refused.append(error)
    assert {error.detail.code for error in refused} <= {"bad_frame", "bad_version", "unknown_type", "invalid"}
    assert all(len(str(error)) < 800 for error in refused)
    assert codec.request_id(content) >= 0


@given(commands, st.integers(0, 2**32))
def test_damaged_commands_are_decoded_or_refused(command: AnyCommand, seed: int) -> None:
    generator = random.Random(seed)
    content = bytearray(codec.encode(command))
    for _ in range(generator.randrange(1, 6)):
        content[generator.randrange(len(content))] = generator.randrange(256)
    codes = set()
    try:
        codec.decode_command(bytes(content))
    except NegError as error:
        codes.add(error.detail.code)
    assert codes <= {"unknown_type", "invalid"}


def test_deep_nesting_is_refused() -> None:
    for frame in (b"\x91" * 100_000, b"\x81\xa4type" * 50_000):
        with pytest.raises(NegError):
            codec.decode_command(frame)
        with pytest.raises(NegError):
            codec.decode_head(frame)


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(wild: float) -> None:
    with pytest.raises(NegError, match="finite"):
        codec.decode_result(codec.encode(Pong(boot_id="", head_seq=0, loop_lag_seconds=wild)))
    with pytest.raises(NegError, match="finite"):
        codec.decode_event(codec.encode(MetricsRecorded(job_id="a", steps=(1,), values={"loss": (wild,)})))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "Explode"}, "unknown_type"),
        ({"type": 3}, "invalid"),
        ({}, "invalid"),
        ({"type": "Ping", "last_seq": -1}, "invalid"),
        ({"type": "Ping", "last_seq": 2**63}, "invalid"),
        ({"type": "GetBlob", "session": "../x", "path": "a"}, "invalid"),
        ({"type": "Hello", "min_protocol": 1}, "invalid"),
        ({"type": "Steer", "job_id": "j", "order": {"type": "Explode"}}, "invalid"),
        ({"type": "Steer", "job_id": "j", "order": {"type": "LearningRate", "value": math.nan}}, "invalid"),
        ({"type": "Steer", "job_id": "j", "order": {"type": "LearningRate", "value": 0}}, "invalid"),
        ([], "invalid"),
    ],
)
def test_bad_commands_have_their_codes(body: object, code: str) -> None:
    with pytest.raises(NegError) as refused:
        codec.decode_command(msgspec.msgpack.encode(body))
    assert refused.value.detail.code == code


def test_unknown_fields_are_ignored_but_in_specs_refused() -> None:
    assert codec.decode_command(msgspec.msgpack.encode({"type": "Ping", "last_seq": 1, "later": [1, 2]})) == Ping(last_seq=1)
    spec = msgspec.to_builtins(SynthesizeJob(session="a", model=ModelSpec(base="toy"), synthesis=SynthesisSpec(keywords=("x",))))
    spec["synthesis"]["gidance"] = 3
    with pytest.raises(NegError, match="gidance"):
        codec.decode_command(msgspec.msgpack.encode({"type": "Submit", "key": "key-00001", "spec": spec}))


def test_another_major_is_refused_without_its_body_and_keeps_its_id() -> None:
    head = msgspec.msgpack.encode([codec.MAGIC, 2, "REQ", 77])
    with pytest.raises(NegError) as refused:
        codec.decode_head(head)
    assert refused.value.detail.code == "bad_version"
    assert codec.request_id(head) == 77


def test_equal_settings_have_equal_hashes() -> None:
    one = ModelSpec(base="toy", device="cpu")
    assert codec.canonical_sha256(one) == codec.canonical_sha256(ModelSpec(device="cpu", base="toy"))
    assert codec.canonical_sha256(one) != codec.canonical_sha256(ModelSpec(base="toy"))


def test_json_for_people_is_indented_and_ends_its_last_line() -> None:
    text = codec.pretty_json(ModelSpec(base="toy", device="cpu"))
    assert text.startswith(b'{\n  "base": "toy",\n')
    assert text.endswith(b"}\n")
    assert msgspec.json.decode(text, type=ModelSpec) == ModelSpec(base="toy", device="cpu")


def test_a_page_holds_what_fits_and_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [ModelSpec(base="x" * 100) for _ in range(5)]
    assert codec.fitting(many) == tuple(many)
    assert codec.fitting([]) == ()
    monkeypatch.setattr(codec, "MAX_REPLY_BYTES", 2 * len(codec.encode(many[0])))
    assert len(codec.fitting(many)) == 2
    monkeypatch.setattr(codec, "MAX_REPLY_BYTES", 1)
    assert len(codec.fitting(many)) == 1
