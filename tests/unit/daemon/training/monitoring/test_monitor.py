import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from fake_denoiser import FakeModel, batches
from tiny_sdxl import SPEC, TinyEngine, make_context

from daemon.protocol.events import DurableEvent, Logged, SamplesSaved, StepProgress
from daemon.training.monitoring.metrics import Measurement
from daemon.training.monitoring.monitor import Monitor, NotFiniteMeasure

WATCHED = msgspec.structs.replace(SPEC, validation_steps=4, sample_steps=6, sample_prompts=("p",))


class FakeSampler:
    """Notes what it is asked to paint; one step does not fit the device."""

    def __init__(self) -> None:
        self.painted: list[tuple[int, tuple[str, ...]]] = []
        self.full_at = -1

    def paint(self, step: int, weights_sha256: str, off: Any, arms: tuple[str, ...]) -> SamplesSaved:
        if step == self.full_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        torch.rand(3)
        self.painted.append((step, arms))
        return SamplesSaved(job_id="j", session="s", run="r", step=step, pictures=())


def monitor(tmp_path: Path, spec: Any = WATCHED, move: float = 0.5) -> tuple[Monitor, FakeSampler, list[Any]]:
    sampler, told = FakeSampler(), []

    @contextlib.contextmanager
    def evaluating() -> Iterator[None]:
        told.append("evaluating")
        yield

    context = make_context(tmp_path, TinyEngine(None), tell=told.append)
    denoiser = FakeModel({"wrong": move}).denoiser()
    weights = {"w": torch.ones(2)}
    return Monitor(spec, context, denoiser, sampler, lambda: batches(2), lambda: weights, evaluating), sampler, told  # type: ignore[arg-type]


def kinds(found: list[DurableEvent | Measurement]) -> list[str]:
    return [type(one).__name__ for one in found]


def test_each_is_due_at_its_steps_before_the_first_and_at_the_end(tmp_path: Path) -> None:
    watch, sampler, _ = monitor(tmp_path)
    found = {step: kinds(list(watch.at(step, is_end=step == 13))) for step in range(14)}
    both = ["Measurement", "SamplesSaved"]
    assert {step: names for step, names in found.items() if names} == {
        0: both, 4: ["Measurement"], 6: ["SamplesSaved"], 8: ["Measurement"], 12: both, 13: both,
    }  # fmt: skip
    assert sampler.painted[:2] == [(0, ("baseline", "placebo")), (6, ("baseline", "placebo", "target"))]


def test_an_adapter_begun_from_another_has_a_target_from_the_start(tmp_path: Path) -> None:
    watch, sampler, _ = monitor(tmp_path, msgspec.structs.replace(WATCHED, init_adapter="other"))
    list(watch.at(0))
    assert sampler.painted == [(0, ("baseline", "placebo", "target"))]


def test_nothing_is_due_where_nothing_is_asked_for(tmp_path: Path) -> None:
    watch, _, told = monitor(tmp_path, SPEC)
    assert not list(watch.at(0))
    assert not list(watch.at(14, is_end=True))
    assert told == []


def test_gone_on_with_from_its_facts_nothing_is_done_twice(tmp_path: Path) -> None:
    before, _, _ = monitor(tmp_path)
    assert kinds(list(before.at(12))) == ["Measurement", "SamplesSaved"]
    after, sampler, _ = monitor(tmp_path)
    after.restore(before.facts())
    assert not list(after.at(12))
    half, _, _ = monitor(tmp_path)
    half.restore({"measured": 12})
    assert kinds(list(half.at(12))) == ["SamplesSaved"]
    assert sampler.painted == []


def test_a_measurement_has_the_three_figures_and_tells_how_far_it_is(tmp_path: Path) -> None:
    watch, _, told = monitor(tmp_path)
    found = watch.measure(4)
    assert found.step == 4
    assert list(found.values) == ["held_out_loss", "separation", "leak"]
    assert found.values["separation"] == pytest.approx(0.5, rel=1e-5)
    steps = [event for event in told if isinstance(event, StepProgress)]
    assert [(event.phase, event.step) for event in steps] == [("validate", step) for step in range(len(steps))]
    assert {event.num_steps for event in steps} == {len(steps)}
    assert told[0] == "evaluating"


def test_the_draws_of_training_are_left_as_they_were(tmp_path: Path) -> None:
    watch, _, _ = monitor(tmp_path)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(watch.at(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_figure_that_is_no_number_is_an_end(tmp_path: Path) -> None:
    watch, _, _ = monitor(tmp_path, move=float("nan"))
    with pytest.raises(NotFiniteMeasure, match="held_out_loss became nan"):
        list(watch.at(4))


def test_samples_that_do_not_fit_are_left_out_in_words(tmp_path: Path) -> None:
    watch, sampler, _ = monitor(tmp_path)
    sampler.full_at = 6
    (told,) = watch.at(6)
    assert isinstance(told, Logged)
    assert told.message == "The samples of step 6 are left out: they do not fit the device (CUDA out of memory)."
    assert not list(watch.at(6))
