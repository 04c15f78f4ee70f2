"""From an arm as declared (names of adapters and embeddings) to an arm as painted (their files, by hash)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.adapters.placing import WEIGHTS_NAME, step_folder
from daemon.engine.base import Engine
from daemon.models.embedding_files import EMBEDDING_FILE, placeholder_token
from daemon.protocol.arms import AdapterUse, ArmSpec, EmbeddingUse, RefinerUse
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, EmbeddingRequest


@dataclass(frozen=True)
class Arm:
    """One way of painting a block. `adapters` act on the base only; one of weight 0 in both branches is left out."""

    name: str
    adapters: tuple[AdapterRequest, ...]
    negative_prompt: str | None
    title: str
    """What it is, in a few words for captions: `LoRA wrong, negative "wrong"`."""
    embeddings: tuple[EmbeddingRequest, ...] = ()
    guidance_scale: float | None = None
    """None: that of the comparison."""
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    refiner: RefinerUse = "arm"


def resolve_arms(specs: Sequence[ArmSpec], session_path: Path, engine: Engine) -> tuple[Arm, ...]:
    """Find every arm's adapter and embedding files in `session_path` and make them known to the engine.

    Raises `NegError`: `invalid` where a name or a placeholder token stands twice, `not_found` where a file was not trained yet.
    """
    for name, count in Counter(spec.name for spec in specs).items():
        if count > 1:
            raise NegError("invalid", f"comparison.arms: {count} arms are called {name!r}.", "Give every arm a name of its own.")
    return tuple(_resolve(spec, session_path, engine) for spec in specs)


def arm_title(spec: ArmSpec) -> str:
    """An arm's settings in a few words; the missing negative prompt and the empty one are told apart."""
    parts = [_adapter_title(use) for use in spec.adapters]
    parts += [f"embedding {use.name}" for use in spec.embeddings]
    parts.append("no negative prompt" if spec.negative_prompt is None else f'negative "{spec.negative_prompt}"')
    if spec.guidance_scale is not None:
        parts.append(f"guidance {spec.guidance_scale:g}")
    if (spec.guidance_start, spec.guidance_end) != (0.0, 1.0):
        parts.append(f"guided from {spec.guidance_start:g} to {spec.guidance_end:g}")
    if spec.refiner != "arm":
        parts.append("no refiner" if spec.refiner == "none" else "refiner without negative prompt")
    return ", ".join(parts)


def _adapter_title(use: AdapterUse) -> str:
    """As `LoRA wrong x 0.5`, `LoRA wrong on the negative branch`, `LoRA wrong x 1 positive, x -1 negative`."""
    name = f"LoRA {use.name}" + (f" of step {use.checkpoint}" if use.checkpoint else "")
    positive, negative = use.weights
    if positive == negative:
        return name + ("" if positive == 1 else f" x {positive:g}")
    if positive and negative:
        return f"{name} x {positive:g} positive, x {negative:g} negative"
    weight, branch = (positive, "positive") if positive else (negative, "negative")
    return f"{name}{'' if weight == 1 else f' x {weight:g}'} on the {branch} branch"


def _resolve(spec: ArmSpec, session_path: Path, engine: Engine) -> Arm:
    if len({(use.name, use.checkpoint) for use in spec.adapters}) < len(spec.adapters):
        raise NegError("invalid", f"Arm {spec.name!r} uses an adapter twice.", "Use it once, with the sum of the weights.")
    if spec.guidance_start >= spec.guidance_end:
        raise NegError("invalid", f"Arm {spec.name!r}: guidance_start is not before guidance_end.", "Exchange them, or leave them out.")
    adapters = tuple(request for use in spec.adapters if (request := _adapter(spec.name, use, session_path, engine)) is not None)
    embeddings = tuple(_embedding(spec.name, use, session_path, engine) for use in spec.embeddings)
    tokens = Counter(one.placeholder_token.lower() for one in embeddings)
    for token, count in tokens.items():
        if count > 1:
            raise NegError("invalid", f"Arm {spec.name!r} has {count} embeddings for {token}.", "Set the placeholder_token of one of them.")
    return Arm(
        spec.name,
        adapters,
        spec.negative_prompt,
        arm_title(spec),
        embeddings,
        guidance_scale=spec.guidance_scale,
        guidance_start=spec.guidance_start,
        guidance_end=spec.guidance_end,
        refiner=spec.refiner,
    )


def _adapter(arm: str, use: AdapterUse, session_path: Path, engine: Engine) -> AdapterRequest | None:
    """None where it acts in no branch."""
    folder = f"{use.name}/{step_folder(use.checkpoint)}" if use.checkpoint else use.name
    path = _find(arm, "adapter", folder, WEIGHTS_NAME, session_path)
    positive, negative = use.weights
    if positive == negative == 0:
        return None
    return AdapterRequest(
        sha256=engine.offer_adapter(path), weight=positive, negative_weight=negative if negative != positive else msgspec.UNSET
    )


def _find(arm: str, what: str, name: str, file_name: str, session_path: Path) -> Path:
    path = session_path / "adapters" / name / file_name
    if not path.is_file():
        raise NegError(
            "not_found",
            f"Arm {arm!r} wants the {what} {name!r}, but there is no adapters/{name}/{file_name} in the session.",
            "Train it first, or change comparison.arms in session.toml.",
        )
    return path


def _embedding(arm: str, use: EmbeddingUse, session_path: Path, engine: Engine) -> EmbeddingRequest:
    path = _find(arm, "embedding", use.name, EMBEDDING_FILE, session_path)
    sha256 = engine.offer_embedding(path)
    told = use.placeholder_token or placeholder_token(path)
    if told is None:
        raise NegError(
            "invalid",
            f"Arm {arm!r}: the file of the embedding {use.name!r} does not tell what stands for it in prompts.",
            f'Set its placeholder_token, as embeddings = [{{ name = "{use.name}", placeholder_token = "<{use.name}>" }}].',
        )
    return EmbeddingRequest(sha256=sha256, placeholder_token=told)
