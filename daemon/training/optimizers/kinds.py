"""The five optimizers by their names in the spec, each made as diffusers' scripts make it. Packages that are extras load lazily."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from daemon.protocol.errors import NegError
from daemon.protocol.training_rules import PACKAGES
from daemon.protocol.training_spec import TrainingSpec

Groups = list[dict[str, Any]]


def _adamw(spec: TrainingSpec, groups: Groups, device: torch.device) -> torch.optim.Optimizer:
    # One kernel instead of ten per weight: on a CPU a fifth of a small step.
    return torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"), **_adam_settings(spec))


def _adamw8bit(spec: TrainingSpec, groups: Groups, device: torch.device) -> torch.optim.Optimizer:
    """Dettmers et al., 2022: moments of 8 bits, in blocks with a scale each; small weights keep float32."""
    if device.type != "cuda":
        hint = "Set optimizer to adamw, or to adafactor where memory is short."
        raise NegError("invalid", "optimizer adamw8bit needs an NVIDIA GPU, and the model is on the CPU.", hint)
    bitsandbytes = _extra("adamw8bit")
    return bitsandbytes.optim.AdamW8bit(groups, **_adam_settings(spec))


def _prodigy(spec: TrainingSpec, groups: Groups, device: torch.device) -> torch.optim.Optimizer:
    """Mishchenko and Defazio, 2023: it estimates the distance to the solution, and from it the rate."""
    prodigyopt = _extra("prodigy")
    # It prints which weight decay it uses.
    with contextlib.redirect_stdout(io.StringIO()):
        return prodigyopt.Prodigy(groups, decouple=True, use_bias_correction=True, safeguard_warmup=True, **_adam_settings(spec))


def _schedulefree(spec: TrainingSpec, groups: Groups, device: torch.device) -> torch.optim.Optimizer:
    """Defazio et al., 2024: an average over all steps takes the place of a schedule."""
    schedulefree = _extra("schedulefree")
    return schedulefree.AdamWScheduleFree(groups, **_adam_settings(spec))


def _adafactor(spec: TrainingSpec, groups: Groups, device: torch.device) -> torch.optim.Optimizer:
    """Shazeer and Stern, 2018, with a rate given from outside; no first moment, the second in rows and columns."""
    from transformers.optimization import Adafactor

    return Adafactor(groups, weight_decay=spec.adam_weight_decay, scale_parameter=False, relative_step=False, warmup_init=False)


KINDS: dict[str, Callable[[TrainingSpec, Groups, torch.device], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "prodigy": _prodigy,
    "schedulefree": _schedulefree,
    "adafactor": _adafactor,
}
"""Groups hold `params` and `lr`. Each raises `NegError` `invalid` where its package or its device is missing."""


def _adam_settings(spec: TrainingSpec) -> dict[str, Any]:
    return {"betas": (spec.adam_beta1, spec.adam_beta2), "eps": spec.adam_epsilon, "weight_decay": spec.adam_weight_decay}


def _extra(optimizer: str) -> ModuleType:
    package = PACKAGES[optimizer]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        message = f"optimizer {optimizer} needs the package {package}, which is not installed here."
        raise NegError("invalid", message, f"Install it: pip install {package}, or set optimizer to adamw.") from error
