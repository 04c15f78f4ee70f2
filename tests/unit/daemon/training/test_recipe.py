import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from tiny_sdxl import (
    TinyEngine,
    adapter_sha256,
    make_context,
    make_job,
    make_session,
    metrics_sha256,
    run,
    stock_pipeline,
)

from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, CheckpointSaved, DurableEvent, EphemeralEvent, Logged, MetricsRecorded, StepProgress
from daemon.recipe import Interrupted
from daemon.training.recipe import train

TINY = Path(__file__).with_name("tiny_sdxl.py")


@pytest.fixture(scope="module")
def undisturbed(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DurableEvent]]:
    """A session trained in one go, and what was told of it."""
    path = make_session(tmp_path_factory.mktemp("undisturbed") / "s")
    return path, list(train(make_job(), make_context(path, TinyEngine(parts))))


def durable(events: list[DurableEvent]) -> dict[str | None, DurableEvent]:
    """What a store keeps: one event a key."""
    return {event.key: event for event in events if event.key is not None}


def test_it_tells_metrics_checkpoints_and_the_adapter(undisturbed: tuple[Path, list[DurableEvent]]) -> None:
    path, events = undisturbed
    assert [event.steps for event in events if isinstance(event, MetricsRecorded)] == [tuple(range(1, 11)), tuple(range(11, 15))]
    checkpoints = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [event.step for event in checkpoints] == [4, 8, 12, 14]
    assert all((path / event.path).is_dir() == (event.step in (12, 14)) for event in checkpoints)
    saved = events[-1]
    assert isinstance(saved, AdapterSaved)
    assert (saved.name, saved.sha256, saved.reused) == ("wrong", adapter_sha256(path), False)
    assert (path / saved.path).stat().st_size == saved.num_bytes
    record = json.loads((path / "adapters" / "wrong" / "training.json").read_text())
    assert (record["num_images"], record["adapter_sha256"], record["bit_exact"]) == (5, saved.sha256, True)
    assert record["num_parameters"] * 4 < saved.num_bytes


def test_the_same_training_elsewhere_gives_the_same_bytes(parts: Any, tmp_path: Path, undisturbed: tuple[Path, list[DurableEvent]]) -> None:
    torch.manual_seed(99)
    path = make_session(tmp_path / "s")
    events = run(path, TinyEngine(parts), output_name="other", checkpointing_steps=99)
    assert adapter_sha256(path, "other") == adapter_sha256(undisturbed[0])
    assert [event.step for event in events if isinstance(event, CheckpointSaved)] == [14]


@pytest.mark.parametrize(("how", "stops"), [("pause", (4,)), ("cancel", (13,)), ("pause", (1, 3, 9, 10))])
def test_stopped_and_resumed_it_ends_the_same(
    parts: Any, tmp_path: Path, undisturbed: tuple[Path, list[DurableEvent]], how: str, stops: tuple[int, ...]
) -> None:
    path, told = make_session(tmp_path / "s"), []
    for stop in stops:
        events = run(path, TinyEngine(parts), stop, how)
        assert events[-1].message == how
        assert (next((path / "checkpoints").iterdir()) / f"step-{stop:06d}").is_dir()
        told += events
    told += run(path, TinyEngine(parts))
    assert adapter_sha256(path) == adapter_sha256(undisturbed[0])
    assert metrics_sha256(path) == metrics_sha256(undisturbed[0])
    found, wanted = durable(told), durable(undisturbed[1])
    assert all(found[key] == event for key, event in wanted.items())
    assert {key for key in found if key not in wanted} <= {event.key for event in told if isinstance(event, CheckpointSaved)}


def exported(path: Path) -> dict[str, bytes]:
    folder = path / "adapters" / "wrong"
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.glob("step-*/*"))}


def test_adapters_of_earlier_steps_come_with_the_finished_one_stopped_or_not(
    parts: Any, tmp_path: Path, undisturbed: tuple[Path, list[DurableEvent]]
) -> None:
    whole, broken = make_session(tmp_path / "whole"), make_session(tmp_path / "broken")
    run(whole, TinyEngine(parts), export_steps=5)
    for stop in (5, 7):
        run(broken, TinyEngine(parts), stop, "pause", export_steps=5)
    assert not (broken / "adapters").exists(), "they wait for it"
    run(broken, TinyEngine(parts), export_steps=5)
    found = exported(whole)
    assert list(found) == [f"step-{step:06d}/pytorch_lora_weights.safetensors" for step in (5, 10)]
    assert len(set(found.values())) == 2
    assert exported(broken) == found
    assert adapter_sha256(whole) == adapter_sha256(broken) == adapter_sha256(undisturbed[0]), "keeping them changes nothing"


def test_an_earlier_step_has_the_weights_of_a_training_that_ended_there_and_of_its_ema(parts: Any, tmp_path: Path) -> None:
    longer, shorter = make_session(tmp_path / "longer"), make_session(tmp_path / "shorter")
    settings = {"ema_decay": 0.5, "lr_scheduler": "constant"}
    run(longer, TinyEngine(parts), export_steps=6, max_train_steps=8, **settings)
    run(shorter, TinyEngine(parts), max_train_steps=6, **settings)
    (kept,) = exported(longer).values()
    expected = load((shorter / "adapters" / "wrong" / "pytorch_lora_weights.safetensors").read_bytes())
    found = load(kept)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_finished_training_that_kept_no_steps_says_so(undisturbed: tuple[Path, list[DurableEvent]]) -> None:
    events = run(undisturbed[0], TinyEngine(None), export_steps=5)
    (warning,) = [event for event in events if isinstance(event, Logged)]
    assert "without keeping it at steps 5 to 10" in warning.message
    assert "another output_name" in warning.message


def test_stopped_before_the_first_step_there_is_nothing_to_save(parts: Any, tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    context = make_context(path, TinyEngine(parts), asked=lambda: "pause")
    with pytest.raises(Interrupted):
        list(train(make_job(), context))
    assert not (path / "adapters").exists()


def test_what_is_done_is_told_again_and_not_computed(undisturbed: tuple[Path, list[DurableEvent]]) -> None:
    path, first = undisturbed
    engine = TinyEngine(None)
    events = run(path, engine)
    assert engine.num_borrowed == 0
    assert events[-1].reused
    kept = durable(first)
    assert all(kept[event.key] == event for event in events[:-1])
    assert [type(event) for event in events] == [MetricsRecorded, MetricsRecorded, AdapterSaved]
    assert events[-1].key == first[-1].key


def test_what_is_done_is_told_without_torch(undisturbed: tuple[Path, list[DurableEvent]]) -> None:
    code = """
import sys
for name in ("torch", "diffusers", "transformers", "peft", "safetensors"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tiny_sdxl import TinyEngine, make_context, make_job
from daemon.training.recipe import train
events = list(train(make_job(), make_context(Path(sys.argv[2]), TinyEngine(None))))
assert events[-1].reused, events
"""
    subprocess.run([sys.executable, "-c", code, TINY.parent, undisturbed[0]], check=True, cwd=TINY.parents[4])


def test_plain_diffusers_loads_the_file_and_predicts_the_same(parts: Any, tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    predictions: list[torch.Tensor] = []

    def tell(event: EphemeralEvent) -> None:
        if isinstance(event, StepProgress) and event.step == event.num_steps and event.phase == "train":
            predictions.append(predict(parts.unet))

    context = make_context(path, TinyEngine(parts), tell=tell)
    list(train(make_job(lora_alpha=7.0), context))
    plain = predict(parts.unet)
    pipeline = stock_pipeline(parts)
    pipeline.load_lora_weights(path / "adapters" / "wrong", adapter_name="wrong")
    loaded = predict(parts.unet)
    pipeline.unload_lora_weights()
    assert torch.equal(loaded, predictions[0])
    assert not torch.equal(loaded, plain)
    assert torch.equal(predict(parts.unet), plain)


def test_the_file_is_what_diffusers_itself_would_have_saved(parts: Any, tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from safetensors import safe_open

    path = make_session(tmp_path / "s")
    run(path, TinyEngine(parts), max_train_steps=1)
    parts.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(parts.unet))
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, unet_lora_layers=layers, **_collate_lora_metadata({"unet": parts.unet}))
    parts.unet.unload_lora()
    name = "pytorch_lora_weights.safetensors"
    with safe_open(tmp_path / name, "pt") as theirs, safe_open(path / "adapters" / "wrong" / name, "pt") as ours:
        assert set(ours.keys()) == set(theirs.keys())
        assert all(ours.get_slice(key).get_shape() == theirs.get_slice(key).get_shape() for key in theirs.keys())  # noqa: SIM118
        found, wanted = (json.loads(file.metadata()["lora_adapter_metadata"]) for file in (ours, theirs))
        for settings in (found, wanted):
            settings["unet.target_modules"] = sorted(settings["unet.target_modules"])
        assert found.items() <= wanted.items()


def predict(unet: Any) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    sample, embeds = torch.randn(2, 4, 16, 16, generator=draw), torch.randn(2, 12, 32, generator=draw)
    conditions = {"text_embeds": torch.randn(2, 16, generator=draw), "time_ids": torch.full((2, 6), 32.0)}
    with torch.no_grad():
        return unet(sample, torch.tensor([5, 900]), embeds, added_cond_kwargs=conditions)[0]


def test_another_training_moves_the_adapter_aside_and_going_back_costs_nothing(
    parts: Any, tmp_path: Path, undisturbed: tuple[Path, list[DurableEvent]]
) -> None:
    path = shutil.copytree(undisturbed[0], tmp_path / "s")
    run(path, TinyEngine(parts), learning_rate=1e-3)
    names = sorted(folder.name for folder in (path / "adapters").iterdir())
    assert len(names) == 2
    assert adapter_sha256(path, names[1]) == adapter_sha256(undisturbed[0]) != adapter_sha256(path)
    engine = TinyEngine(parts)
    assert run(path, engine)[-1].reused
    assert engine.num_borrowed == 0
    assert adapter_sha256(path) == adapter_sha256(undisturbed[0])


def test_files_that_cannot_be_used_are_told_and_change_nothing(
    parts: Any, tmp_path: Path, undisturbed: tuple[Path, list[DurableEvent]]
) -> None:
    path = make_session(tmp_path / "s")
    for number in range(30):
        (path / "dataset" / f"broken-{number:02d}.png").write_bytes(b"no picture")
    events = run(path, TinyEngine(parts))
    warnings = [event.message for event in events if isinstance(event, Logged)]
    assert len(warnings) == 21
    assert warnings[0].startswith("broken-00.png is left out: it cannot be decoded")
    assert warnings[-1] == "10 more files of the dataset are left out."
    assert adapter_sha256(path) == adapter_sha256(undisturbed[0])


def test_a_damaged_checkpoint_is_told_and_the_end_is_the_same(
    parts: Any, tmp_path: Path, undisturbed: tuple[Path, list[DurableEvent]]
) -> None:
    path = make_session(tmp_path / "s")
    run(path, TinyEngine(parts), 11)
    folder = next((path / "checkpoints").iterdir())
    (folder / "step-000011" / "optimizer.safetensors").write_bytes(b"rubbish")
    events = run(path, TinyEngine(parts))
    assert any("step-000011 is left out" in event.message for event in events if isinstance(event, Logged))
    assert adapter_sha256(path) == adapter_sha256(undisturbed[0])
    assert metrics_sha256(path) == metrics_sha256(undisturbed[0])


@pytest.mark.parametrize("call", [1, 4, 9, 14])
def test_a_full_disk_stops_it_in_words_and_it_goes_on_when_there_is_room(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: tuple[Path, list[DurableEvent]], call: int
) -> None:
    path, real, count = make_session(tmp_path / "s"), os.posix_fallocate, iter(range(1, 999))

    def full(*args: int) -> None:
        if next(count) >= call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NegError) as caught:
        run(path, TinyEngine(parts))
    assert caught.value.detail.code == "disk_full"
    assert caught.value.detail.retryable
    monkeypatch.undo()
    assert run(path, TinyEngine(parts))[-1].sha256 == adapter_sha256(undisturbed[0])
    assert not list(path.rglob(".tmp-*"))


def test_nothing_usable_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    engine = TinyEngine(None)
    with pytest.raises(NegError, match="no images to train on"):
        run(tmp_path, engine)
    assert engine.num_borrowed == 0
