"""Adapter files looked at without loading them. Free of torch."""

from __future__ import annotations

import re
from pathlib import Path

from daemon.models.headers import read_header
from daemon.protocol.errors import NegError

LORA_WEIGHT = re.compile(r"(?:unet\.)?(?P<module>.+?)[._]lora[._](?P<side>A|B|down|up)(?:\.\w+)?\.weight")
"""Names of LoRA weights as diffusers and peft spell them."""


def check_adapter_file(path: Path) -> None:
    """Look at an adapter's header only; raises `NegError` where it is no LoRA for an SDXL UNet."""
    if path.suffix != ".safetensors":
        raise NegError("invalid", f"{path} is no .safetensors file.", "Adapters are read from safetensors only.")
    names = read_header(path).tensors
    if any(name.startswith(("text_encoder", "lora_te")) for name in names):
        raise NegError(
            "incompatible",
            f"{path} also changes the text encoders.",
            "Only adapters of the UNet are used: train without text-encoder LoRA.",
        )
    if not any(LORA_WEIGHT.fullmatch(name) or ".lora_down." in name for name in names):
        raise NegError("incompatible", f"{path} holds no LoRA weights.", "Give the pytorch_lora_weights.safetensors of an adapter.")
