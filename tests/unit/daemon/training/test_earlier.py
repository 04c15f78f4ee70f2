import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tiny_sdxl import IDENTITY, TinyEngine, adapter_sha256, make_job, make_session, run

from daemon.files import write_atomic
from daemon.protocol.errors import NegError
from daemon.protocol.events import CheckpointSaved, DurableEvent, Logged
from daemon.protocol.orders import LearningRate, StopAndKeep
from daemon.training import earlier, orders
from daemon.training.checkpoint import TrainerState, found_checkpoints, load_checkpoint, save_checkpoint
from daemon.training.data.dataset import Dataset
from daemon.training.earlier import RUN_NAME, begin
from daemon.training.optimizers.make import OptimizerState
from daemon.training.plan import TrainingPlan, fingerprint

ENDLESS = {"lr_scheduler": "constant_with_warmup", "max_train_steps": 10}


def make_plan(session_path: Path, **changes: Any) -> TrainingPlan:
    job, dataset = make_job(**{**ENDLESS, **changes}), Dataset(())
    return TrainingPlan(job, "j", session_path, dataset, IDENTITY, fingerprint(job.training, dataset.sha256, IDENTITY))


def leave_run(plan: TrainingPlan, *steps: int) -> None:
    """What a run leaves that came as far as the last of `steps`."""
    for _ in begin(plan):
        pass
    for step in steps:
        save_checkpoint(
            plan.checkpoints_path, TrainerState(step, {}, OptimizerState(), {}, {"at": step}), plan.fingerprint, {"torch": "1"}, True
        )
    plan.metrics_path.parent.mkdir(exist_ok=True)
    plan.metrics_path.write_bytes(b"the curve\n")


def step_of(plan: TrainingPlan) -> int | None:
    found = load_checkpoint(plan.checkpoints_path, plan.fingerprint, pytest.fail)
    return None if found is None else found[0].step


def test_more_steps_go_on_from_the_end_of_the_earlier_run(tmp_path: Path) -> None:
    before, now = make_plan(tmp_path), make_plan(tmp_path, max_train_steps=20)
    leave_run(before, 8, 10)
    kept = {path: path.read_bytes() for path in before.checkpoints_path.rglob("*.*") if path.is_file()}
    (sentence,) = begin(now)
    assert "goes on from step 10" in sentence
    assert before.checkpoints_path.name in sentence
    found = load_checkpoint(now.checkpoints_path, now.fingerprint, pytest.fail)
    assert found is not None
    assert (found[0].step, found[0].facts, found[1].environment, found[1].bit_exact) == (10, {"at": 10}, {"torch": "1"}, True)
    assert now.metrics_path.read_bytes() == b"the curve\n"
    assert {path: path.read_bytes() for path in before.checkpoints_path.rglob("*.*") if path.is_file()} == kept
    assert list(begin(now)) == []


def test_fewer_steps_go_on_from_a_checkpoint_that_is_not_past_them(tmp_path: Path) -> None:
    leave_run(make_plan(tmp_path), 4, 10)
    now = make_plan(tmp_path, max_train_steps=9)
    assert "step 4" in next(iter(begin(now)))
    assert step_of(now) == 4
    anew = make_plan(tmp_path, max_train_steps=3)
    assert "begins anew: max_train_steps is 3 (was" in next(iter(begin(anew)))
    assert step_of(anew) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_train_steps": 20, "rank": 8}, "rank is 8 (was 4)"),
        ({"max_train_steps": 20, "lr_scheduler": "linear"}, "lr_scheduler is linear (was constant_with_warmup)"),
        ({"seed": 1, "rank": 2, "resolution": 64, "train_batch_size": 1, "snr_gamma": 5.0}, "and 2 more settings changed"),
    ],
)
def test_anything_else_begins_anew_and_says_why(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    leave_run(make_plan(tmp_path), 10)
    now = make_plan(tmp_path, **changes)
    (sentence,) = begin(now)
    assert sentence.startswith("The training begins anew: ")
    assert words in sentence
    assert step_of(now) is None
    assert not now.metrics_path.exists()


def test_new_images_are_named_without_their_hash(tmp_path: Path) -> None:
    before = make_plan(tmp_path)
    leave_run(before, 10)
    decisive = msgspec.json.decode((before.checkpoints_path / RUN_NAME).read_bytes())
    (before.checkpoints_path / RUN_NAME).write_bytes(msgspec.json.encode(decisive | {"dataset": "other"}))
    (sentence,) = begin(make_plan(tmp_path, max_train_steps=20))
    assert "the images or captions changed, max_train_steps is 20 (was 10)" in sentence


def test_runs_of_other_names_and_broken_ones_are_not_looked_at(tmp_path: Path) -> None:
    leave_run(make_plan(tmp_path, output_name="other"), 10)
    leave_run(make_plan(tmp_path, output_name="wrong-2"), 10)
    broken = make_plan(tmp_path)
    leave_run(broken, 10)
    (broken.checkpoints_path / RUN_NAME).write_bytes(b"{")
    (broken.checkpoints_path.parent / "wrong-file").write_bytes(b"")
    assert list(begin(make_plan(tmp_path, max_train_steps=20))) == []


def test_a_damaged_checkpoint_or_a_lost_curve_is_not_gone_on_from(tmp_path: Path) -> None:
    before = make_plan(tmp_path)
    leave_run(before, 8, 10)
    (found_checkpoints(before.checkpoints_path)[0] / "adapter.safetensors").write_bytes(b"")
    now = make_plan(tmp_path, max_train_steps=20)
    assert "step 8" in next(iter(begin(now)))
    shutil.rmtree(now.checkpoints_path)
    before.metrics_path.unlink()
    assert "begins anew" in next(iter(begin(make_plan(tmp_path, max_train_steps=30))))


def test_what_was_taken_over_half_is_taken_over_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = make_plan(tmp_path), make_plan(tmp_path, max_train_steps=20)
    leave_run(before, 10)
    for step in (5, 10):
        write_atomic(before.exported_path / f"step-{step:06d}" / "pytorch_lora_weights.safetensors", f"step {step}".encode())
    write, count = earlier.write_atomic, itertools.count(1)

    def dies_at(call: int) -> Callable[..., str]:
        def dies(path: Path, content: bytes, **options: Any) -> str:
            if next(count) == call:
                raise RuntimeError("killed")
            return write(path, content, **options)

        return dies

    for call in itertools.count(1):
        count = itertools.count(1)
        monkeypatch.setattr(earlier, "write_atomic", dies_at(call))
        try:
            (sentence,) = begin(now)
        except RuntimeError:
            continue
        break
    assert call > 4, "run.json, the curve, two adapters, the checkpoint's state"
    assert "goes on from step 10" in sentence
    kept = {path.parent.name: path.read_bytes() for path in now.exported_path.rglob("*.safetensors")}
    assert kept == {"step-000005": b"step 5", "step-000010": b"step 10"}


def test_orders_of_the_steps_taken_over_come_along(tmp_path: Path) -> None:
    before, now = make_plan(tmp_path), make_plan(tmp_path, max_train_steps=20)
    leave_run(before, 5, 7)
    journal = orders.Journal(before.checkpoints_path / orders.FILE_NAME)
    journal.record(3, LearningRate(value=1e-3))
    journal.record(8, StopAndKeep())
    assert "step 7" in next(iter(begin(now)))
    (entry,) = orders.Journal(now.checkpoints_path / orders.FILE_NAME).entries
    assert (entry.step, entry.order) == (3, LearningRate(value=1e-3))
    (before.checkpoints_path / orders.FILE_NAME).write_bytes(b"{\n")
    shutil.rmtree(now.checkpoints_path)
    with pytest.raises(NegError, match="cannot be read"):
        list(begin(now))


def test_raising_the_steps_gives_the_bits_of_one_run_in_one_go(parts: Any, tmp_path: Path) -> None:
    one, two = (make_session(tmp_path / name) for name in ("one", "two"))
    changes: dict[str, Any] = {**ENDLESS, "ema_decay": 0.9}
    run(one, TinyEngine(parts), **{**changes, "max_train_steps": 16})
    run(two, TinyEngine(parts), **changes)
    first = adapter_sha256(two)
    events: list[DurableEvent] = run(two, TinyEngine(parts), **{**changes, "max_train_steps": 16})
    assert any(isinstance(event, Logged) and "goes on from step 10" in event.message for event in events)
    assert [event.step for event in events if isinstance(event, CheckpointSaved)] == [10, 12, 16]
    assert adapter_sha256(two) == adapter_sha256(one) != first
    curves = [sorted((path / "metrics").glob("*.jsonl"), key=lambda file: file.stat().st_size)[-1] for path in (one, two)]
    assert curves[0].read_bytes() == curves[1].read_bytes()
    # The shorter one stands aside, and is found again.
    run(two, TinyEngine(parts), **changes)
    assert adapter_sha256(two) == first
