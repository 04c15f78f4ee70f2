"""What the headers of adapter files tell, whatever act made them: peft's settings, the names of other programs, our own. Free of torch.

Neither dates nor versions: equal weights of equal origin are equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.models.adapter_files import OWN_PEFT_METADATA, PEFT_METADATA
from daemon.models.sources import HUB_ID

PeftSettings = dict[str, dict[str, Any]]
"""Component -> fields of peft's LoraConfig, LoHaConfig or LoKrConfig, the latter two with their `peft_type`."""


def diffusers_header(settings: PeftSettings, origin: Mapping[str, str]) -> dict[str, str]:
    """Header of the file in diffusers' keys: peft's settings under the name that diffusers reads, and `origin` as `negtui.*`."""
    return {"format": "pt", PEFT_METADATA: _peft_json(settings), **own(origin)}


def kohya_header(
    settings: PeftSettings, origin: Mapping[str, str], tensors_sha256: str, sd_scripts: Mapping[str, object], modelspec: Mapping[str, str]
) -> dict[str, str]:
    """Header of the file in kohya's keys: `ss_*` as sd-scripts writes them, modelspec 1.0.1, and ours.

    `modelspec`: what is this adapter's own of it (title, resolution, ...); what all have is added.
    """
    return {
        "format": "pt",
        OWN_PEFT_METADATA: _peft_json(settings),
        "sshs_model_hash": tensors_sha256,
        **{name: str(value) for name, value in {"ss_base_model_version": "sdxl_base_v1-0", "ss_v2": False, **sd_scripts}.items()},
        **_modelspec(tensors_sha256, modelspec),
        **own(origin),
    }


def own(origin: Mapping[str, str]) -> dict[str, str]:
    """What is told of an adapter's origin, under names of ours."""
    return {f"negtui.{name}": value for name, value in origin.items()}


def modelspec_prediction_type(prediction_type: str) -> str:
    """A scheduler's `prediction_type` as modelspec spells it."""
    return "v" if prediction_type == "v_prediction" else "epsilon"


def is_hub_id(reference: str) -> bool:
    """Whether a model is named by its repository on the hub."""
    return HUB_ID.fullmatch(reference) is not None and not Path(reference).exists()


def public_name(reference: str) -> str:
    """A model as a stranger may know it: a hub id or `toy`; of a place on this machine its last name only."""
    return reference if is_hub_id(reference) else Path(reference).expanduser().name


def _peft_json(settings: PeftSettings) -> str:
    named = {f"{component}.{field}": value for component, fields in settings.items() for field, value in fields.items()}
    return json.dumps(named, indent=2, sort_keys=True)


def _modelspec(tensors_sha256: str, particular: Mapping[str, str]) -> dict[str, str]:
    """ModelSpec 1.0.1 (Stability-AI/ModelSpec) as sd-scripts fills it for a LoRA of SDXL."""
    found = {
        "sai_model_spec": "1.0.1",
        "architecture": "stable-diffusion-xl-v1-base/lora",
        "implementation": "https://github.com/Stability-AI/generative-models",
        "hash_sha256": f"0x{tensors_sha256}",
        **particular,
    }
    return {f"modelspec.{name}": value for name, value in found.items()}
