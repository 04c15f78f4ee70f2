"""A merged adapter says what its unmerged parents say together, to plain diffusers, to the engine, and in kohya's keys."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import MODULES, outputs, same
from parents import BOTH, WEIGHTS, context, merge_job, save_parent
from safetensors.torch import load_file
from tiny_sdxl import stock_pipeline

from daemon.engine.adapter_loading import put_on, take_off_all
from daemon.engine.adapter_reading import read_adapter
from daemon.merging.combining import combine
from daemon.merging.plan import make_plan
from daemon.protocol.errors import NegError
from daemon.protocol.events import EphemeralEvent, StepProgress
from daemon.recipe import Interrupted


def merged(folder: Path, parts: Any, **changes: Any) -> dict[str, bytes]:
    there = context(folder, parts)
    return combine(make_plan(merge_job(**changes), there), there)[0]


def unmerged(parts: Any, folder: Path) -> list[torch.Tensor]:
    """What the model says with both parents on it, each at its weight."""
    pipeline = stock_pipeline(parts)
    with warnings.catch_warnings():
        # peft warns of a second adapter, which is what is meant.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        for parent in BOTH:
            pipeline.load_lora_weights(str(folder / "adapters" / parent.name), weight_name=WEIGHTS, adapter_name=parent.name)
    pipeline.set_adapters([parent.name for parent in BOTH], [parent.weight for parent in BOTH])
    found = outputs(parts)
    pipeline.unload_lora_weights()
    return found


@pytest.mark.parametrize(("name", "kind"), [(WEIGHTS, "cat"), ("merged_kohya.safetensors", "svd")])
def test_plain_diffusers_says_with_it_what_it_says_with_both_parents(tmp_path: Path, parts: Any, kind: str, name: str) -> None:
    save_parent(tmp_path, parts, "wrong", 1, lora_alpha=3.0, train_text_encoder=True)
    save_parent(tmp_path, parts, "subject", 2, rank=2, use_rslora=True, target_modules="attention+feed_forward+convolution")
    together, plain = unmerged(parts, tmp_path), outputs(parts)
    files = merged(tmp_path, parts, combination_type=kind, **({"svd_rank": 8} if kind == "svd" else {}))
    (tmp_path / name).write_bytes(files[name])
    pipeline = stock_pipeline(parts)
    pipeline.load_lora_weights(str(tmp_path), weight_name=name, adapter_name="merged")
    for found, expected, without in zip(outputs(parts), together, plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found, without, rtol=1e-2, atol=1e-3), "the adapters must have something to say"
    pipeline.unload_lora_weights()
    assert same(outputs(parts), plain) == [True, True, True]


def test_the_engine_reads_it_as_any_adapter(tmp_path: Path, parts: Any) -> None:
    save_parent(tmp_path, parts, "wrong", 1)
    save_parent(tmp_path, parts, "subject", 2)
    together = unmerged(parts, tmp_path)
    for name, content in merged(tmp_path, parts).items():
        (tmp_path / name).write_bytes(content)
        for component, adapter in read_adapter(tmp_path / name, {part: getattr(parts, part) for part in MODULES}, 1).items():
            put_on(tmp_path / name, getattr(parts, component), adapter, "merged")
        torch.testing.assert_close(outputs(parts)[0], together[0], rtol=1e-4, atol=1e-5)
        take_off_all(parts.unet)


def test_foreign_files_without_headers_are_parents_too(tmp_path: Path, parts: Any) -> None:
    from safetensors.torch import save_file

    save_parent(tmp_path, parts, "wrong", 1, lora_alpha=3.0)
    path = save_parent(tmp_path, parts, "subject", 2, lora_alpha=1.0)
    together = unmerged(parts, tmp_path)
    save_file(load_file(path.with_name("subject_kohya.safetensors")), path)
    (tmp_path / WEIGHTS).write_bytes(merged(tmp_path, parts)[WEIGHTS])
    stock = stock_pipeline(parts)
    stock.load_lora_weights(str(tmp_path), weight_name=WEIGHTS, adapter_name="merged")
    torch.testing.assert_close(outputs(parts)[0], together[0], rtol=1e-4, atol=1e-5)
    stock.unload_lora_weights()


def test_a_step_is_told_for_every_layer_and_it_stops_between_them(tmp_path: Path, parts: Any) -> None:
    save_parent(tmp_path, parts, "wrong", 1)
    save_parent(tmp_path, parts, "subject", 2)
    told: list[EphemeralEvent] = []
    there = context(tmp_path, parts, tell=told.append, asked=lambda: "pause" if len(told) > 2 else None)
    with pytest.raises(Interrupted):
        combine(make_plan(merge_job(), there), there)
    assert [event.step for event in told if isinstance(event, StepProgress)] == [1, 2, 3]


def test_weights_beyond_all_bounds_are_refused(tmp_path: Path, parts: Any) -> None:
    for name in ("wrong", "subject"):
        path = save_parent(tmp_path, parts, name, 1)
        from safetensors.torch import save_file

        save_file({key: 1e30 * weight for key, weight in load_file(path).items()}, path)
    with pytest.raises(NegError, match="cannot be computed"):
        merged(tmp_path, parts, combination_type="svd")
