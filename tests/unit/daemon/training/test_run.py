import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_sdxl import TinyEngine, adapter_sha256, make_session, metrics_sha256, run

from daemon.protocol.events import AdapterSaved, CheckpointSaved, DurableEvent, Logged, MetricsRecorded, SamplesSaved
from daemon.protocol.orders import Checkpoint, LearningRate, Sample, StopAndKeep

SAMPLES = {"sample_steps": 5, "sample_prompts": ("a red circle",), "sample_num_inference_steps": 2}
WATCHED = {**SAMPLES, "max_train_steps": 9, "validation_steps": 4, "validation_images": 2}
STOPPING = {
    "validation_steps": 2,
    "early_stopping": True,
    "early_stopping_patience": 2,
    "lr_scheduler": "constant",
    "learning_rate": 1.0,  # overshoots within a few steps, before rounding can tell machines apart
    "optimizer": "schedulefree",
    "lr_warmup_steps": 0,
}


def of(kind: type, events: list[DurableEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def record(path: Path) -> dict[str, Any]:
    return json.loads((path / "adapters" / "wrong" / "training.json").read_text())


def measurements(events: list[DurableEvent], name: str) -> dict[int, float]:
    return {event.steps[0]: event.values[name][0] for event in of(MetricsRecorded, events) if name in event.values}


def facts(events: list[DurableEvent]) -> dict[str | None, DurableEvent]:
    return {event.key: event for event in events if event.key is not None and not isinstance(event, CheckpointSaved)}


@pytest.fixture(scope="module")
def watched(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DurableEvent]]:
    path = make_session(tmp_path_factory.mktemp("watched") / "s")
    return path, run(path, TinyEngine(parts), **WATCHED)


def test_measurements_and_samples_come_before_during_and_after(watched: tuple[Path, list[DurableEvent]]) -> None:
    path, events = watched
    for name in ("held_out_loss", "separation", "leak"):
        assert list(measurements(events, name)) == [0, 4, 8, 9]
    assert measurements(events, "separation")[0] == measurements(events, "leak")[0] == 0.0
    assert measurements(events, "separation")[9] > 0
    assert [event.step for event in of(SamplesSaved, events)] == [0, 5, 9]
    assert list(measurements(events, "sampled_gain")) == [5, 9]
    last = of(SamplesSaved, events)[-1]
    assert [(picture.arm, picture.prompt) for picture in last.pictures] == [
        (arm, prompt) for prompt in SAMPLES["sample_prompts"] for arm in ("baseline", "placebo", "target")
    ]
    assert all((path / picture.path).is_file() for event in of(SamplesSaved, events) for picture in event.pictures)
    assert record(path)["measurements"]["held_out_loss"] == measurements(events, "held_out_loss")[9]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora_dropout": 0.3, "caption_dropout": 0.3, "ema_decay": 0.9},
        {"optimizer": "schedulefree", "lr_scheduler": "constant", "lr_warmup_steps": 0, "center_crop": False, "random_flip": True},
        {"train_text_encoder": True, "use_dora": True, "gradient_checkpointing": True},
    ],
)
def test_to_watch_changes_nothing(parts: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    plain, seen = make_session(tmp_path / "plain"), make_session(tmp_path / "seen")
    run(plain, TinyEngine(parts), validation_images=2, max_train_steps=9, **changes)
    run(seen, TinyEngine(parts), **WATCHED | changes)
    assert adapter_sha256(plain) == adapter_sha256(seen)


def test_the_seventh_defect_nothing_is_loaded_again_to_measure_or_to_paint(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script loads a whole pipeline for every validation."""
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was loaded")

    for loader in (DiffusionPipeline, ModelMixin, PreTrainedModel):
        monkeypatch.setattr(loader, "from_pretrained", refuse)
    engine = TinyEngine(parts)
    events = run(make_session(tmp_path / "s"), engine, **WATCHED)
    assert engine.num_borrowed == 1
    assert [event.step for event in of(SamplesSaved, events)] == [0, 5, 9]


def test_the_ninth_defect_the_average_is_what_is_saved_and_its_origin_is_told(parts: Any, tmp_path: Path) -> None:
    """The script keeps no average of the weights, and its file says nothing of where they come from."""
    path = make_session(tmp_path / "s")
    run(path, TinyEngine(parts), ema_decay=0.9)
    saved = load_file(path / "adapters" / "wrong" / "pytorch_lora_weights.safetensors")
    (last,) = (path / "checkpoints").glob("*/step-000014")
    live, remembered = load_file(last / "adapter.safetensors"), load_file(last / "optimizer.safetensors")
    averages = {name.removeprefix("ema."): weight for name, weight in remembered.items() if name.startswith("ema.")}
    assert averages.keys() == live.keys()
    by_value = {weight.numpy().tobytes() for weight in saved.values()}
    assert by_value == {weight.numpy().tobytes() for weight in averages.values()}
    assert by_value.isdisjoint({weight.numpy().tobytes() for weight in live.values()})
    with safe_open(path / "adapters" / "wrong" / "pytorch_lora_weights.safetensors", "pt") as file:
        header = file.metadata()
    told = record(path)
    assert (told["spec"]["ema_decay"], told["num_images"], len(told["image_sha256s"])) == (0.9, 5, 5)
    assert told["dataset_sha256"] in str(header)
    assert told["fingerprint"] in str(header)


@pytest.mark.parametrize("stop", [{"stop_at": 5}, {"stop_in": ("sample", 1)}, {"stop_in": ("sample", 5)}, {"stop_in": ("validate", 30)}])
def test_stopped_while_it_is_watched_it_ends_the_same(
    parts: Any, tmp_path: Path, watched: tuple[Path, list[DurableEvent]], stop: dict[str, Any]
) -> None:
    path = make_session(tmp_path / "s")
    told = run(path, TinyEngine(parts), **stop, **WATCHED)
    assert told[-1].message == "pause"
    told += run(path, TinyEngine(parts), **WATCHED)
    assert adapter_sha256(path) == adapter_sha256(watched[0])
    assert metrics_sha256(path) == metrics_sha256(watched[0])
    assert facts(told) == facts(watched[1])


def test_what_was_watched_is_told_again(watched: tuple[Path, list[DurableEvent]]) -> None:
    path, events = watched
    again = run(path, TinyEngine(None), **WATCHED)
    assert again[-1].reused
    assert facts(again).keys() == facts(events).keys()
    assert all(facts(events)[key] == event for key, event in facts(again).items() if not isinstance(event, AdapterSaved))


@pytest.fixture(scope="module")
def stopped(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DurableEvent]]:
    path = make_session(tmp_path_factory.mktemp("stopped") / "s")
    return path, run(path, TinyEngine(parts), **STOPPING, max_train_steps=40)


def test_early_stopping_keeps_the_best_weights_and_says_why(parts: Any, tmp_path: Path, stopped: tuple[Path, list[DurableEvent]]) -> None:
    (path, events), short = stopped, make_session(tmp_path / "short")
    losses = measurements(events, "held_out_loss")
    trained = {step: loss for step, loss in losses.items() if step}
    best, last = min(trained, key=trained.__getitem__), max(trained)
    assert best <= last - 4
    assert last < 40
    assert [event.message for event in of(Logged, events) if "Early stopping" in event.message] == [
        f"Early stopping at step {last}: held_out_loss has not fallen for 2 measurements; it was best at step {best} ({trained[best]:.6g})."
    ]
    saved = events[-1]
    assert (saved.step, saved.reason) == (best, f"early stopping: held_out_loss was best at step {best} of the {last} that were trained")
    assert record(path)["reason"] == saved.reason
    run(short, TinyEngine(parts), **STOPPING | {"early_stopping": False}, max_train_steps=best)
    name = "adapters/wrong/pytorch_lora_weights.safetensors"
    found, wanted = load_file(path / name), load_file(short / name)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    again = run(path, TinyEngine(None), **STOPPING, max_train_steps=40)
    assert any(f"holds the weights of step {best}: early stopping" in event.message for event in of(Logged, again))
    assert facts(again).keys() == facts(events).keys()


@pytest.mark.parametrize("stop_at", [2, 5])
def test_early_stopping_goes_on_exactly(parts: Any, tmp_path: Path, stopped: tuple[Path, list[DurableEvent]], stop_at: int) -> None:
    path, (undisturbed, events) = make_session(tmp_path / "s"), stopped
    told = run(path, TinyEngine(parts), stop_at, **STOPPING, max_train_steps=40)
    told += run(path, TinyEngine(parts), **STOPPING, max_train_steps=40)
    assert adapter_sha256(path) == adapter_sha256(undisturbed)
    assert facts(told) == facts(events)


def test_a_checkpoint_and_samples_at_once(parts: Any, tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    events = run(path, TinyEngine(parts), orders={3: (Sample(), Checkpoint())}, **SAMPLES | {"sample_steps": 0})
    assert [event.step for event in of(SamplesSaved, events)] == [3]
    assert 3 in [event.step for event in of(CheckpointSaved, events)]


def test_samples_of_nothing_are_answered_in_words(parts: Any, tmp_path: Path) -> None:
    events = run(make_session(tmp_path / "s"), TinyEngine(parts), orders={3: (Sample(),)})
    assert [event.message for event in of(Logged, events)] == ["There is nothing to sample: training.sample_prompts is empty."]


def test_stopped_and_kept(parts: Any, tmp_path: Path) -> None:
    path, whole = make_session(tmp_path / "s"), make_session(tmp_path / "whole")
    events = run(path, TinyEngine(parts), orders={6: (StopAndKeep(),)}, **WATCHED)
    saved, reason = events[-1], "stopped by request after step 6 of 9"
    assert (saved.step, saved.reason, record(path)["reason"], record(path)["orders"]) == (6, reason, reason, ["stop after step 6"])
    assert [step for event in of(MetricsRecorded, events) if "loss" in event.values for step in event.steps] == [1, 2, 3, 4, 5, 6]
    assert 6 in measurements(events, "held_out_loss")
    assert 6 in [event.step for event in of(SamplesSaved, events)]
    again = run(path, TinyEngine(None), **WATCHED)
    assert any(f"holds the weights of step 6: {reason}" in event.message for event in of(Logged, again))
    assert (again[-1].step, again[-1].reason, again[-1].reused) == (6, reason, True)
    run(whole, TinyEngine(parts), 6, **WATCHED)
    name = "adapter.safetensors"
    assert next(path.rglob(f"step-000006/{name}")).read_bytes() == next(whole.rglob(f"step-000006/{name}")).read_bytes()


def test_before_the_first_step_there_is_nothing_to_keep(parts: Any, tmp_path: Path) -> None:
    events = run(make_session(tmp_path / "s"), TinyEngine(parts), orders={0: (StopAndKeep(),)})
    assert "There is nothing to keep before the first step; the training goes on." in [event.message for event in of(Logged, events)]
    assert events[-1].reason == ""


def test_another_rate_holds_across_a_stop(parts: Any, tmp_path: Path) -> None:
    path, undisturbed, plain = (make_session(tmp_path / name) for name in ("s", "undisturbed", "plain"))
    orders = {3: (LearningRate(value=1e-3),)}
    events = run(undisturbed, TinyEngine(parts), orders=orders, lr_scheduler="constant")
    rates = [rate for event in of(MetricsRecorded, events) for rate in event.values["learning_rate"]]
    assert rates == pytest.approx([1e-2] * 3 + [1e-3] * 11)
    assert record(undisturbed)["orders"] == ["learning_rate 0.001 from step 4 on"]
    run(path, TinyEngine(parts), 7, orders=orders, lr_scheduler="constant")
    run(path, TinyEngine(parts), lr_scheduler="constant")
    assert adapter_sha256(path) == adapter_sha256(undisturbed)
    run(plain, TinyEngine(parts), lr_scheduler="constant")
    assert adapter_sha256(plain) != adapter_sha256(undisturbed)


def test_curves_go_to_tensorboard_too(parts: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = make_session(tmp_path / "s")
    run(path, TinyEngine(parts), 7, report_to=("tensorboard",), **WATCHED)
    run(path, TinyEngine(parts), report_to=("tensorboard",), **WATCHED)
    (folder,) = (path / "metrics" / "tensorboard").iterdir()
    curves = EventAccumulator(str(folder)).Reload()
    assert [event.step for event in curves.Scalars("loss")] == list(range(1, 10))
    assert [event.step for event in curves.Scalars("held_out_loss")] == [0, 4, 8, 9]
