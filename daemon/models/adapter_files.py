"""Adapter files looked at without loading them. Free of torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from daemon.models.adapter_keys import COMPONENTS, KOHYA_PREFIXES
from daemon.models.headers import read_header
from daemon.protocol.errors import NegError

AdapterKind = Literal["lora", "loha", "lokr"]

PEFT_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps peft's configurations in a file's header: JSON, `<component>.<field>`."""
OWN_PEFT_METADATA = "negtui.peft_config"
"""The same in our files of kohya keys, where diffusers would not suffer it under its own name."""

LORA_WEIGHT = re.compile(r"(?:unet\.)?(?P<module>.+?)[._]lora[._](?P<side>A|B|down|up)(?:\.\w+)?\.weight")
"""Names of LoRA weights as diffusers and peft spell them."""
LYCORIS_WEIGHT = re.compile(r"(?P<module>.+)\.(?P<weight>(?P<kind>hada|lokr)_(?:[wt][12])(?:_[ab])?)")
"""Names of LoHa and LoKr weights as LyCORIS and peft spell them."""


def adapter_kind(names: Iterable[str]) -> AdapterKind | None:
    """What kind of adapter a file of these tensors is; None: none that is known."""
    found = {matched["kind"] for name in names if (matched := LYCORIS_WEIGHT.fullmatch(name))}
    if found:
        return "lokr" if "lokr" in found else "loha"
    return "lora" if any(LORA_WEIGHT.fullmatch(name) or ".lora_down." in name for name in names) else None


def obstacle_by_row(names: Iterable[str]) -> str | None:
    """What a file of these tensors is, where peft cannot let it act on single rows of a batch: DoRA, LoHa or LoKr. None: a plain LoRA."""
    names = list(names)
    kind = adapter_kind(names)
    if kind in ("loha", "lokr"):
        return {"loha": "LoHa", "lokr": "LoKr"}[kind]
    return "DoRA" if any(name.endswith(("lora_magnitude_vector", "lora_magnitude_vector.weight", "dora_scale")) for name in names) else None


def has_kohya_keys(names: Iterable[str]) -> bool:
    """Whether the layers are named as kohya's sd-scripts and LyCORIS name them."""
    return all(name.startswith(("lora_te_", *KOHYA_PREFIXES.values())) for name in names)


def peft_settings_in(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """peft's configuration of each component, as a file's header tells it; empty where it tells none that can be read."""
    try:
        found = json.loads(metadata.get(PEFT_METADATA) or metadata.get(OWN_PEFT_METADATA) or "{}")
        settings: dict[str, dict[str, Any]] = {}
        for name, value in dict(found).items():
            component, field = str(name).split(".", 1)
            if component in COMPONENTS:
                settings.setdefault(component, {})[field] = value
    except (ValueError, TypeError, RecursionError):
        return {}
    return settings


def check_adapter_file(path: Path) -> None:
    """Look at an adapter's header only; raises `NegError` where it is no LoRA, DoRA, LoHa or LoKr."""
    if path.suffix != ".safetensors":
        raise NegError("invalid", f"{path} is no .safetensors file.", "Adapters are read from safetensors only.")
    names = list(read_header(path).tensors)
    if adapter_kind(names) is None:
        raise NegError("incompatible", f"{path} holds no LoRA weights.", "Give the pytorch_lora_weights.safetensors of an adapter.")
    other = next((name for name in names if name.startswith(("text_encoder_3", "lora_te3_", "transformer."))), None)
    if other is not None:
        raise NegError("incompatible", f"{path} holds {other!r}, which belongs to another kind of model.", "Use adapters made for SDXL.")
