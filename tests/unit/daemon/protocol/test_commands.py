import msgspec
import pytest

from daemon.protocol.commands import AnyCommand, AnyResult, Attached, Snapshot, Steer, Submit
from daemon.protocol.orders import LearningRate
from daemon.protocol.specs import ModelSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec

SPEC = TrainJob(session="toy", model=ModelSpec(base="toy"), training=TrainingSpec())


def test_a_command_comes_back_equal() -> None:
    submit = Submit(key="0123456789", spec=SPEC, after=("a",), priority=3)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(submit), type=AnyCommand) == submit


@pytest.mark.parametrize("change", [{"key": "short"}, {"key": "bad key with blanks"}, {"priority": 1000}, {"after": ["x"] * 65}])
def test_values_out_of_range_are_refused(change: dict[str, object]) -> None:
    plain = {"type": "Submit", "key": "0123456789", "spec": msgspec.to_builtins(SPEC)} | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plain, AnyCommand)


def test_unknown_fields_of_a_newer_minor_are_ignored() -> None:
    plain = {"type": "Ping", "last_seq": 3, "something_new": True}
    assert msgspec.convert(plain, AnyCommand) == msgspec.convert({"type": "Ping", "last_seq": 3}, AnyCommand)


def test_results_come_back_equal() -> None:
    attached = Attached(seq=4, snapshot=Snapshot())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(attached), type=AnyResult) == attached


def test_an_order_rides_within_its_command() -> None:
    plain = {"type": "Steer", "job_id": "j", "order": {"type": "LearningRate", "value": 5e-5}}
    assert msgspec.convert(plain, AnyCommand) == Steer(job_id="j", order=LearningRate(value=5e-5))
