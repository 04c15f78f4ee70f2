from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.engine.models import create_engine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRequest, ModelSpec

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
        if len(done) < 4:
            raise torch.OutOfMemoryError
        return "made"

    rungs = [("one", lambda: done.append("one")), ("two", lambda: done.append("two"))]
    assert retrying(action, rungs[:1] + rungs[1:]) == "made"
    assert done == ["try", "one", "try", "two", "try"][: len(done)]
    with pytest.raises(torch.OutOfMemoryError):
        done.clear()
        retrying(action, rungs[:1])


def test_other_errors_are_not_retried() -> None:
    from daemon.engine.memory import retrying

    def action() -> None:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError):
        retrying(action, [("never", lambda: pytest.fail("climbed"))])


def test_a_tight_cap_paints_the_same_by_dropping_parts(
    engine: object, model: ModelSpec, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy = create_engine(tmp_path)
    request = make_request(num_inference_steps=5)
    whole = roomy.paint(model, request)
    roomy.close()
    monkeypatch.setenv("NEGTUI_MEMORY_CAP_GIB", "0.0001")
    tight = create_engine(tmp_path)
    assert tight.paint(model, request).tobytes() == whole.tobytes()
    resident = tight._loaded().store.keys()
    assert sum(key.startswith("unet:") for key in resident) == 1, "the base made room for the refiner"
    tight.close()


def test_a_picture_that_never_fits_is_gpu_oom_in_words(
    model: ModelSpec, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    engine = create_engine(tmp_path)

    def on_step(step: int, num_steps: int, preview: Callable[[], bytes]) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(NegError) as caught:
        engine.paint(model, make_request(), on_step)
    assert caught.value.detail.code == "gpu_oom"
    assert engine.paint(model, make_request()).size == (64, 64)
    engine.close()


def test_threads_are_physical_cores() -> None:
    import os

    from daemon.engine.memory import num_physical_cores

    assert 1 <= num_physical_cores() <= len(os.sched_getaffinity(0))
