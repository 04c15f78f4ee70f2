import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sdxl import TinyEngine, make_context, make_job, make_session, run

from daemon.protocol.errors import NegError
from daemon.protocol.events import Logged, StepProgress
from daemon.training.recipe import train


def test_progress_and_timings_are_told(parts: Any, tmp_path: Path) -> None:
    told: list[StepProgress] = []
    context = make_context(make_session(tmp_path / "s"), TinyEngine(parts), tell=told.append)
    list(train(make_job(), context))
    assert set(context.timings) == {"load", "cache", "train", "checkpoint", "export"}
    assert [event.step for event in told if event.phase == "cache"] == [1, 2, 3, 4, 5]
    steps = [event for event in told if event.phase == "train"]
    assert [(event.step, event.num_steps) for event in steps] == [(step, 14) for step in range(1, 15)]
    assert all(event.steps_per_second > 0 and event.eta_seconds >= 0 for event in steps[1:])


def test_a_loss_that_explodes_names_the_step_and_keeps_the_checkpoint(parts: Any, tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    changes = {"learning_rate": 1e19, "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 9, "checkpointing_steps": 1}
    with pytest.raises(
        NegError, match=r"Training stopped at step \d+ of 14: the (loss|gradient|norm of the adapter's weights) became (nan|inf)"
    ) as caught:
        run(path, TinyEngine(parts), **changes)
    step = int(caught.value.detail.message.split("step ")[1].split()[0])
    assert f"The checkpoint of step {step - 1} is kept" in caught.value.detail.message
    assert "learning_rate" in caught.value.detail.hint
    assert (next((path / "checkpoints").iterdir()) / f"step-{step - 1:06d}").is_dir()
    assert not (path / "adapters").exists()
    # The same again ends the same way: it goes on from there.
    with pytest.raises(NegError, match=f"at step {step} of 14"):
        run(path, TinyEngine(parts), **changes)


def test_going_on_with_other_threads_is_allowed_and_marked(parts: Any, tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    run(path, TinyEngine(parts), 5)
    state = next(path.rglob("step-000005/state.json"))
    state.write_text(state.read_text().replace('"num_threads": "1"', '"num_threads": "64"'))
    events = run(path, TinyEngine(parts))
    assert any("num_threads 64 -> 1" in event.message for event in events if isinstance(event, Logged))
    assert json.loads((path / "adapters" / "wrong" / "training.json").read_text())["bit_exact"] is False


def test_a_prompt_that_is_too_long_is_told(parts: Any, tmp_path: Path) -> None:
    events = run(make_session(tmp_path / "s"), TinyEngine(parts), max_train_steps=1, instance_prompt="w" * 40)
    assert any("its end is cut off" in event.message for event in events if isinstance(event, Logged))


def test_out_of_memory_is_said_in_words(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*args: object, **options: object) -> Iterator[None]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("daemon.training.trainer.denoising_loss", overflow)
    with pytest.raises(NegError, match="does not fit the device: CUDA out of memory") as caught:
        run(make_session(tmp_path / "s"), TinyEngine(parts))
    assert caught.value.detail.code == "gpu_oom"
    assert not getattr(parts.unet, "peft_config", None)
