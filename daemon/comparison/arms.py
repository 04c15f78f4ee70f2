"""From an arm as declared (adapter names) to an arm as painted (adapter files, by hash)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.engine.base import Engine
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ArmSpec

ADAPTER_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Arm:
    """One way of painting a block. `adapters` act on the base only; one of weight 0 is left out."""

    name: str
    adapters: tuple[AdapterRequest, ...]
    negative_prompt: str | None
    title: str
    """What it is, in a few words for captions: `LoRA wrong, negative "wrong"`."""


def resolve_arms(specs: Sequence[ArmSpec], session_path: Path, engine: Engine) -> tuple[Arm, ...]:
    """Find every arm's adapter files in `session_path` and make them known to the engine.

    Raises `NegError`: `invalid` where a name stands twice, `not_found` where an adapter was not trained yet.
    """
    for name, count in Counter(spec.name for spec in specs).items():
        if count > 1:
            raise NegError("invalid", f"comparison.arms: {count} arms are called {name!r}.", "Give every arm a name of its own.")
    return tuple(_resolve(spec, session_path, engine) for spec in specs)


def arm_title(spec: ArmSpec) -> str:
    """An arm's settings in a few words; the missing negative prompt and the empty one are told apart."""
    parts = [f"LoRA {use.name}" + ("" if use.weight == 1 else f" x {use.weight:g}") for use in spec.adapters]
    parts.append("no negative prompt" if spec.negative_prompt is None else f'negative "{spec.negative_prompt}"')
    return ", ".join(parts)


def _resolve(spec: ArmSpec, session_path: Path, engine: Engine) -> Arm:
    if len({use.name for use in spec.adapters}) < len(spec.adapters):
        raise NegError("invalid", f"Arm {spec.name!r} uses an adapter twice.", "Use it once, with the sum of the weights.")
    adapters = []
    for use in spec.adapters:
        path = session_path / "adapters" / use.name / ADAPTER_FILE
        if not path.is_file():
            raise NegError(
                "not_found",
                f"Arm {spec.name!r} wants the adapter {use.name!r}, but there is no adapters/{use.name}/{ADAPTER_FILE} in the session.",
                "Train it first, or change comparison.arms in session.toml.",
            )
        if use.weight != 0:
            adapters.append(AdapterRequest(sha256=engine.offer_adapter(path), weight=use.weight))
    return Arm(spec.name, tuple(adapters), spec.negative_prompt, arm_title(spec))
