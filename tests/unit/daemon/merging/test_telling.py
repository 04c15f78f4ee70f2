import json
from pathlib import Path
from typing import Any

from parents import context, merge_job, save_parent

from daemon.merging.plan import MergePlan, make_plan
from daemon.merging.telling import diffusers_header, kohya_header, make_record, model_card, peft_settings
from daemon.models.adapter_files import peft_settings_in

SETTINGS = peft_settings({"unet": 8, "text_encoder": 4}, {"unet": ["a.to_q"], "text_encoder": ["b.q_proj"]})


def plan(folder: Path, parts: Any) -> MergePlan:
    save_parent(folder, parts, "wrong", 1)
    save_parent(folder, parts, "subject", 2)
    return make_plan(merge_job(combination_type="ties", density=0.25), context(folder, parts))


def test_the_headers_tell_parents_weights_and_combination(tmp_path: Path, parts: Any) -> None:
    made = plan(tmp_path, parts)
    for header in (diffusers_header(made, SETTINGS), kohya_header(made, SETTINGS, "c" * 64, "v_prediction")):
        told = json.loads(header["negtui.parents"])
        assert [(parent["name"], parent["weight"], parent["sha256"]) for parent in told] == [
            (parent.name, parent.weight, parent.sha256) for parent in made.parents
        ]
        assert json.loads(header["negtui.settings"]) == {"combination_type": "ties", "density": 0.25, "majority_sign_method": "total"}
        assert peft_settings_in(header) == SETTINGS
    assert header["ss_network_dim"] == "8"
    assert header["modelspec.merged_from"] == "wrong, subject"
    assert header["modelspec.prediction_type"] == "v"


def test_the_card_tells_how_it_came_about(tmp_path: Path, parts: Any) -> None:
    made = plan(tmp_path, parts)
    files = {"pytorch_lora_weights.safetensors": b"a", "merged_kohya.safetensors": b"b"}
    text = model_card(made, make_record(made, files, 7, {"unet": 8, "text_encoder": 4}, {"peft": "1"}))
    for expected in (
        "# merged",
        "`ties`",
        "| `density` | `0.25` |",
        "| `subject` | 0.7 | `subject words` |",
        "unet 8, text_encoder 4",
        "strength_clip 1",
    ):
        assert expected in text
    assert all(parent.sha256 in text for parent in made.parents)
    assert str(tmp_path) not in text
