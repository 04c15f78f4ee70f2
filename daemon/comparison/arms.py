"""From an arm as declared (names of adapters and embeddings) to an arm as painted (their files, by hash)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.engine.base import Engine
from daemon.models.embedding_files import EMBEDDING_FILE, placeholder_token
from daemon.protocol.errors import NegError
from daemon.protocol.specs import AdapterRequest, ArmSpec, EmbeddingRequest, EmbeddingUse

ADAPTER_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Arm:
    """One way of painting a block. `adapters` act on the base only; one of weight 0 is left out."""

    name: str
    adapters: tuple[AdapterRequest, ...]
    negative_prompt: str | None
    title: str
    """What it is, in a few words for captions: `LoRA wrong, negative "wrong"`."""
    embeddings: tuple[EmbeddingRequest, ...] = ()


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
    parts = [f"LoRA {use.name}" + ("" if use.weight == 1 else f" x {use.weight:g}") for use in spec.adapters]
    parts += [f"embedding {use.name}" for use in spec.embeddings]
    parts.append("no negative prompt" if spec.negative_prompt is None else f'negative "{spec.negative_prompt}"')
    return ", ".join(parts)


def _resolve(spec: ArmSpec, session_path: Path, engine: Engine) -> Arm:
    if len({use.name for use in spec.adapters}) < len(spec.adapters):
        raise NegError("invalid", f"Arm {spec.name!r} uses an adapter twice.", "Use it once, with the sum of the weights.")
    adapters = []
    for use in spec.adapters:
        path = _find(spec.name, "adapter", use.name, ADAPTER_FILE, session_path)
        if use.weight != 0:
            adapters.append(AdapterRequest(sha256=engine.offer_adapter(path), weight=use.weight))
    embeddings = tuple(_embedding(spec.name, use, session_path, engine) for use in spec.embeddings)
    tokens = Counter(one.placeholder_token.lower() for one in embeddings)
    for token, count in tokens.items():
        if count > 1:
            raise NegError("invalid", f"Arm {spec.name!r} has {count} embeddings for {token}.", "Set the placeholder_token of one of them.")
    return Arm(spec.name, tuple(adapters), spec.negative_prompt, arm_title(spec), embeddings)


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
