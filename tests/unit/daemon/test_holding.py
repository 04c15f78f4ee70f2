import pytest

from daemon.engine.base import GpuBytes
from daemon.failures import explain
from daemon.holding import Holding, require_holder
from daemon.protocol.errors import NegError
from daemon.protocol.events import ResidentPart, Residents
from daemon.protocol.specs import ModelSpec

PART = ResidentPart(name="unet", kind="base", num_bytes=5, device="cuda")


class Engine:
    def __init__(self) -> None:
        self.parts: tuple[ResidentPart, ...] | None = ()

    def residents(self) -> tuple[ResidentPart, ...]:
        if self.parts is None:
            raise RuntimeError("dictionary changed size during iteration")
        return self.parts

    def gpu_bytes(self) -> GpuBytes | None:
        return GpuBytes(7, 9) if self.parts else None

    def hold(self, model: ModelSpec) -> None:
        self.parts = (PART,)


def test_only_what_changed_is_told() -> None:
    engine, told = Engine(), list[Residents]()
    holding = Holding(lambda: engine, told.append)
    holding.look()
    assert told == []
    engine.parts = (PART,)
    for _ in range(3):
        holding.look()
    assert told == [Residents(worker="", parts=(PART,), allocated_bytes=7, reserved_bytes=9)]
    engine.parts = None
    holding.look()
    assert len(told) == 1


def test_what_an_action_raises_is_told_and_undone() -> None:
    told, undone = list[Residents](), list[bool]()
    holding = Holding(lambda: None, told.append)
    holding.do("loading x", lambda: 1 / 0, explain, lambda: undone.append(True))
    holding.do("unloading", lambda: None, explain, lambda: undone.append(False))
    assert [(one.doing, one.error.partition(":")[0]) for one in told] == [
        ("loading x", ""),
        ("", "ZeroDivisionError"),
        ("unloading", ""),
        ("", ""),
    ]
    assert undone == [True]


def test_an_engine_that_cannot_hold_is_refused_in_words() -> None:
    engine = Engine()
    assert require_holder(engine) is engine
    with pytest.raises(NegError, match="when a job needs them"):
        require_holder(object())
