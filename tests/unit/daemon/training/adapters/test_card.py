from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from adapting import EVERYWHERE, KINDS, disturb, make_plan, outputs, same
from tiny_sdxl import make_parts, stock_pipeline

from daemon.training.adapters.card import model_card
from daemon.training.adapters.metadata import TrainingRecord, make_record
from daemon.training.monitoring.metrics import Point
from daemon.training.plan import TrainingPlan

POINTS = [Point(step, 1 / step, 1e-4, 1.0) for step in range(1, 15)]
FILES = {"pytorch_lora_weights.safetensors": b"a", "wrong_kohya.safetensors": b"b"}


def card(plan: TrainingPlan, **changes: Any) -> str:
    record: TrainingRecord = make_record(plan, FILES, "pytorch_lora_weights.safetensors", 7, POINTS, {}, True)
    return model_card(plan, msgspec.structs.replace(record, **changes))


def front_matter(text: str) -> list[str]:
    begin, matter, _ = text.split("---\n", 2)
    assert begin == ""
    return matter.splitlines()


def test_the_hub_reads_its_front_matter(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    base = "stabilityai/stable-diffusion-xl-base-1.0"
    job = msgspec.structs.replace(plan.job, model=msgspec.structs.replace(plan.job.model, base=base))
    lines = front_matter(card(TrainingPlan(job, "j", tmp_path, plan.dataset, plan.identity, plan.fingerprint)))
    assert f"base_model: {base}" in lines
    assert 'instance_prompt: "wrong"' in lines
    for tag in ("text-to-image", "stable-diffusion-xl", "lora", "template:sd-lora"):
        assert f"- {tag}" in lines
    assert not any(line.startswith("license:") for line in lines), "that is the user's to choose"


def test_prompts_cannot_break_the_front_matter(tmp_path: Path) -> None:
    lines = front_matter(card(make_plan(tmp_path, instance_prompt='a "wolf": # no')))
    assert 'instance_prompt: "a \\"wolf\\": # no"' in lines


def test_it_tells_the_use_the_origin_and_the_hashes(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    text = card(plan, step=9, reason="stopped by request", orders=("learning rate x 0.5 at step 3",), measurements={"leak": 0.25})
    record = make_record(plan, FILES, "pytorch_lora_weights.safetensors", 7, POINTS, {}, True)
    for expected in (
        "ComfyUI",
        "A1111",
        "<lora:wrong_kohya:1>",
        "load_lora_weights",
        "negative_prompt='wrong'",
        plan.dataset.sha256,
        plan.fingerprint,
        *record.file_sha256s.values(),
        "| `learning_rate` | `0.01` |",
        "0.2929 -> 0.1168",
        "step 9: stopped by request",
        "learning rate x 0.5 at step 3",
        "| leak | 0.25 |",
    ):
        assert expected in text
    assert str(tmp_path) not in text


def test_places_of_the_training_machine_are_not_in_it(tmp_path: Path) -> None:
    assert "/secret" not in card(make_plan(tmp_path, instance_data_dir="/secret/photos"))


def test_an_embedding_is_told_as_one(tmp_path: Path) -> None:
    text = card(make_plan(tmp_path, method="textual_inversion"))
    assert "load_textual_inversion" in text
    assert "<wrong>" in text
    assert "- lora" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_its_python_loads_the_adapter(tmp_path: Path, kind: str) -> None:
    import torch

    from daemon.training.adapters.attach import attached
    from daemon.training.adapters.formats import adapter_files

    parts = make_parts()
    plan = make_plan(tmp_path, **KINDS[kind], **EVERYWHERE)
    with attached(parts, plan.spec) as adapter:
        disturb(adapter)
        found = outputs(parts)
        for name, content in adapter_files(plan, adapter, adapter.weights(), POINTS).items():
            (tmp_path / name).write_bytes(content)
    code = card(plan).split("```python\n")[1].split("```")[0]
    lines = [line for line in code.splitlines() if not line.startswith(("from diffusers", "pipeline = ", "pipeline.to(", "image = "))]
    exec("\n".join(lines).replace("FOLDER_OF_THIS_FILE", str(tmp_path)), {"torch": torch, "pipeline": stock_pipeline(parts)})
    assert same(outputs(parts), found) == [True, True, True]
