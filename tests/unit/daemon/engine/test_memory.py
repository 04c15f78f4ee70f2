from __future__ import annotations

from collections.abc import Callable

import pytest

from daemon.protocol.specs import ImageRequest

MakeRequest = Callable[..., ImageRequest]


def test_room_is_made_by_dropping_another_refiner_then_the_least_recently_used() -> None:
    import torch
    from torch import nn

    from daemon.engine.memory import PartStore, module_bytes

    def part(num_bytes: int) -> nn.Module:
        return nn.ParameterList([nn.Parameter(torch.zeros(num_bytes // 4))])

    store = PartStore(lambda: 1000)
    assert module_bytes(part(400)) == 400
    store.put("old", part(200), "base")
    store.put("refiner", part(400), "refiner")
    store.put("new", part(200), "base")
    store.get("old")
    assert store.make_room(200, keep=()) == []
    assert store.make_room(300, keep=()) == ["refiner"]
    assert store.make_room(800, keep=("old",)) == ["new"]
    assert store.keys() == ("old",)


def test_out_of_memory_climbs_the_rungs_and_then_says_so() -> None:
    import torch

    from daemon.engine.memory import retrying

    done: list[str] = []

    def action() -> str:
        done.append("try")
        if len(done) < 5:
            raise torch.OutOfMemoryError
        return "made"

    rungs = [("one", lambda: done.append("one")), ("two", lambda: done.append("two"))]
    assert retrying(action, rungs) == "made"
    assert done == ["try", "one", "try", "two", "try"]
    done.clear()
    with pytest.raises(torch.OutOfMemoryError):
        retrying(action, rungs[:1])


def test_other_errors_are_not_retried() -> None:
    from daemon.engine.memory import retrying

    def action() -> None:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError):
        retrying(action, [("never", lambda: pytest.fail("climbed"))])


def test_threads_are_physical_cores() -> None:
    import os

    from daemon.engine.memory import num_physical_cores

    assert 1 <= num_physical_cores() <= len(os.sched_getaffinity(0))


def test_a_module_is_at_work_where_and_as_asked_and_goes_back() -> None:
    import torch
    from torch import nn

    from daemon.engine.memory import at_work, move_aside

    module = nn.Linear(3, 3).to(torch.float16)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}

    def work() -> None:
        with at_work(module, "cpu", torch.float32):
            assert module.weight.dtype == torch.float32
            with at_work(module, "cpu", torch.float32):
                pass
            assert module.weight.dtype == torch.float32
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())
    with at_work(module, "cpu"):
        assert module.weight.dtype == torch.float16
    move_aside(module)
    assert module.weight.device.type == "cpu"
