import json
from pathlib import Path

import pytest
from adapting import DATASET, make_plan
from tiny_sdxl import IDENTITY, SPEC

from daemon.models.adapter_files import peft_settings_in
from daemon.training.adapters.metadata import (
    diffusers_header,
    kohya_alpha,
    kohya_header,
    loss_summary,
    make_record,
    peft_settings,
    tag_frequency,
)
from daemon.training.monitoring.metrics import Point

POINTS = [Point(step, float(step), 1e-4, 1.0) for step in range(1, 31)]


def test_the_header_tells_the_origin_and_no_dates_or_names(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, lora_alpha=8.0)
    metadata = diffusers_header(plan, peft_settings(plan.spec), POINTS)
    assert peft_settings_in(metadata)["unet"]["lora_alpha"] == 8.0
    assert metadata["negtui.instance_prompt"] == "wrong"
    assert metadata["negtui.base_sha256"] == IDENTITY.base_sha256
    assert metadata["negtui.dataset_sha256"] == DATASET.sha256
    assert (metadata["negtui.loss_first"], metadata["negtui.loss_last"]) == ("5.5", "25.5")
    settings = json.loads(metadata["negtui.settings"])
    assert settings["lora_alpha"] == 8.0
    assert settings["learning_rate"] == SPEC.learning_rate
    other = make_plan(tmp_path, lora_alpha=8.0, output_name="other", checkpointing_steps=1)
    assert diffusers_header(other, peft_settings(other.spec), POINTS) == metadata


def test_the_kohya_header_is_what_other_programs_ask_for(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, train_text_encoder=True, text_encoder_lr=5e-5, snr_gamma=5.0)
    metadata = kohya_header(plan, peft_settings(plan.spec), POINTS, "c" * 64, "v_prediction")
    wanted = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "4",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_learning_rate": "0.01",
        "ss_text_encoder_lr": "5e-05",
        "ss_min_snr_gamma": "5.0",
        "ss_steps": "30",
        "ss_resolution": "(32, 32)",
        "ss_tag_frequency": json.dumps({"dataset": tag_frequency(plan)}),
        "sshs_model_hash": "c" * 64,
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.title": "wrong",
        "modelspec.trigger_phrase": "wrong",
        "modelspec.prediction_type": "v",
        "modelspec.resolution": "32x32",
        "modelspec.hash_sha256": "0x" + "c" * 64,
        "negtui.dataset_sha256": DATASET.sha256,
    }
    assert wanted.items() <= metadata.items()
    assert all(isinstance(value, str) for value in metadata.values())
    assert "lora_adapter_metadata" not in metadata, "diffusers takes alphas or this, not both"


@pytest.mark.parametrize(
    ("changes", "module", "args"),
    [
        ({}, "networks.lora", "None"),
        ({"peft_type": "loha"}, "lycoris.kohya", '{"algo": "loha"}'),
        ({"use_dora": True}, "lycoris.kohya", '{"dora_wd": "True"}'),
    ],
)
def test_who_would_have_trained_it(tmp_path: Path, changes: dict[str, object], module: str, args: str) -> None:
    plan = make_plan(tmp_path, **changes)
    metadata = kohya_header(plan, peft_settings(plan.spec), POINTS, "c" * 64, "epsilon")
    assert (metadata["ss_network_module"], metadata["ss_network_args"]) == (module, args)


def test_rslora_is_spelt_by_its_alpha(tmp_path: Path) -> None:
    spec = make_plan(tmp_path, rank=16, use_rslora=True).spec
    assert kohya_alpha(spec) / 16 == 16 / 16**0.5
    assert kohya_alpha(make_plan(tmp_path, rank=16).spec) == 16


def test_peft_settings_of_each_component(tmp_path: Path) -> None:
    spec = make_plan(tmp_path, train_text_encoder=True, peft_type="lokr", target_modules="attention+feed_forward").spec
    settings = peft_settings(spec)
    assert list(settings) == ["unet", "text_encoder", "text_encoder_2"]
    assert {fields["peft_type"] for fields in settings.values()} == {"LOKR"}
    assert "ff.net.2" in settings["unet"]["target_modules"]
    assert "conv1" not in settings["unet"]["target_modules"]
    assert settings["text_encoder"]["target_modules"] == ["k_proj", "out_proj", "q_proj", "v_proj"]


def test_the_record_knows_every_file(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    record = make_record(plan, {"a": b"1", "b": b"22"}, "b", 7, POINTS, {"torch": "1"}, True)
    assert list(record.file_sha256s) == ["a", "b"]
    assert (record.adapter_sha256, record.num_bytes) == (record.file_sha256s["b"], 2)
    assert (record.loss.first, record.loss.last) == (5.5, 25.5)


def test_no_steps_no_loss() -> None:
    assert (loss_summary([]).first, loss_summary([]).last) == (None, None)
