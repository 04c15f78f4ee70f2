"""The word that a textual inversion learns, and the prompts it must stand in. Free of torch."""

from __future__ import annotations

import msgspec

from daemon.protocol.training_spec import TrainingSpec


def settled(spec: TrainingSpec) -> TrainingSpec:
    """The spec as it is trained: a textual inversion's `instance_prompt` holds the placeholder, or else is the placeholder alone."""
    if spec.method != "textual_inversion" or _holds(spec.instance_prompt, spec):
        return spec
    return msgspec.structs.replace(spec, instance_prompt=spec.placeholder_token)


def with_placeholder(caption: str, spec: TrainingSpec) -> str:
    """A caption as it is trained: one without the placeholder of a textual inversion gets it in front, or it would teach nothing."""
    if spec.method != "textual_inversion" or _holds(caption, spec):
        return caption
    return f"{spec.placeholder_token}, {caption}" if caption else spec.placeholder_token


def _holds(text: str, spec: TrainingSpec) -> bool:
    return spec.placeholder_token in text
