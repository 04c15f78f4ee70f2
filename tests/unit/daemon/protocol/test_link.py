import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.errors import NegError
from daemon.protocol.events import Logged, Preview, Residents
from daemon.protocol.link import (
    MAX_MESSAGE_BYTES,
    PREFIX_BYTES,
    DropModels,
    FromWorker,
    HoldModel,
    InterruptUnit,
    OrderUnit,
    ToWorker,
    UnitTold,
    WorkerTold,
    pack,
    unpack_from_worker,
    unpack_length,
    unpack_to_worker,
)
from daemon.protocol.orders import LearningRate
from daemon.protocol.specs import ModelSpec


def test_both_directions_travel() -> None:
    told = UnitTold(job_id="j", fence=2, event=Logged(job_id="j", level="info", message="m"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=FromWorker) == told
    interrupt = InterruptUnit(job_id="j", how="pause")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(interrupt), type=ToWorker) == interrupt
    order = OrderUnit(job_id="j", order=LearningRate(value=1e-5))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=ToWorker) == order


def test_what_concerns_no_unit_travels() -> None:
    for order in (HoldModel(model=ModelSpec(base="toy"), label="x"), DropModels()):
        assert unpack_to_worker(pack(order)[PREFIX_BYTES:]) == order
    told = WorkerTold(event=Residents(worker=""))
    assert unpack_from_worker(pack(told)[PREFIX_BYTES:]) == told


def test_a_packed_message_is_its_length_and_itself() -> None:
    interrupt = InterruptUnit(job_id="j", how="pause")
    packed = pack(interrupt)
    assert unpack_length(packed[:PREFIX_BYTES]) == len(packed) - PREFIX_BYTES
    assert unpack_to_worker(packed[PREFIX_BYTES:]) == interrupt
    with pytest.raises(NegError, match="cannot be read"):
        unpack_from_worker(packed[PREFIX_BYTES:])


def test_lengths_that_cannot_be_are_refused() -> None:
    for length in (0, MAX_MESSAGE_BYTES + 1, 2**32 - 1):
        with pytest.raises(NegError) as refusal:
            unpack_length(length.to_bytes(PREFIX_BYTES, "big"))
        assert refusal.value.detail.code == "bad_frame"
    preview = Preview(job_id="j", image_id="i", step=1, num_steps=2, jpeg=b"x" * MAX_MESSAGE_BYTES)
    with pytest.raises(NegError) as refusal:
        pack(UnitTold(job_id="j", fence=1, event=preview))
    assert refusal.value.detail.code == "too_large"


@given(st.binary(max_size=200))
def test_noise_is_refused_in_words_only(noise: bytes) -> None:
    for unpack in (unpack_to_worker, unpack_from_worker):
        with pytest.raises(NegError, match="cannot be read"):
            unpack(noise)
