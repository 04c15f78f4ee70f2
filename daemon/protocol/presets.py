"""Ready-made families of arms, written out as plain arms: what a person asks for by one word. Pure.

The first arm of each is the baseline, the last the one that its question is about.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from daemon.protocol.arms import AdapterUse, ArmSpec, EmbeddingUse, PresetName
from daemon.protocol.errors import NegError

WORDS = ("house", "tree", "car", "city", "moon", "sea", "cat", "dog", "sun", "door", "chair", "bread", "river", "stone", "clock", "paper")
"""Random words are drawn from these; a word of its own in CLIP's vocabulary each, none of them of quality."""
NUM_RANDOM_WORDS = 3
MAX_CHECKPOINTS = 8
SCALES = (0.5, 1.0, 1.5, 2.0)
WINDOWS = {"early": (0.0, 0.5), "middle": (0.2, 0.8), "late": (0.5, 1.0)}


@dataclass(frozen=True)
class Ingredients:
    """What a session has that presets are made of; None or empty where it has none."""

    adapter: str | None = None
    """The negative adapter."""
    word: str = "wrong"
    """What it was trained as: the negative prompt."""
    subject: str | None = None
    embedding: EmbeddingUse | None = None
    keywords: tuple[str, ...] = ()
    checkpoints: tuple[int, ...] = ()
    """Steps whose adapter the training keeps."""
    guidance_scale: float = 13.0
    seed: int = 0
    """Of the random words."""


def preset_arms(name: PresetName, ingredients: Ingredients) -> tuple[ArmSpec, ...]:
    """The arms of a preset. Raises `NegError` `invalid` where the session lacks what it needs, saying how to get that."""
    return PRESETS[name][1](ingredients)


def random_words(number: int, seed: int) -> tuple[str, ...]:
    """So many different words; the same seed gives the same."""
    return tuple(random.Random(seed).sample(WORDS, number))


def _three(has: Ingredients) -> tuple[ArmSpec, ...]:
    return (*_controls(has), ArmSpec(name="target", adapters=(_negative(has, "three"),), negative_prompt=has.word))


def _placebo(has: Ingredients) -> tuple[ArmSpec, ...]:
    words = random_words(NUM_RANDOM_WORDS, has.seed)
    return (
        ArmSpec(name="zeros"),
        ArmSpec(name="empty", negative_prompt=""),
        *(ArmSpec(name=f"random-{number}", negative_prompt=word) for number, word in enumerate(words, 1)),
        ArmSpec(name="wrong", negative_prompt=has.word),
    )


def _branches(has: Ingredients) -> tuple[ArmSpec, ...]:
    adapter = _negative(has, "branches").name
    uses = {
        "none": (),
        "minus": (AdapterUse(name=adapter, weight=-1.0),),
        "both": (AdapterUse(name=adapter),),
        "negative": (_negative_only(adapter),),
    }
    negatives = {"zeros": None, "empty": "", "random": random_words(1, has.seed)[0], "wrong": has.word}
    return tuple(
        ArmSpec(name=f"{use}-{negative}", adapters=uses[use], negative_prompt=negatives[negative])
        for use, negative in itertools.product(uses, negatives)
    )


def _scales(has: Ingredients) -> tuple[ArmSpec, ...]:
    adapter = _negative(has, "scales").name
    both = {f"both-{scale:g}": AdapterUse(name=adapter, weight=scale) for scale in SCALES}
    negative = {f"negative-{scale:g}": _negative_only(adapter, scale) for scale in (*SCALES, 3.0)}
    return (
        *_controls(has),
        *(ArmSpec(name=name, adapters=(use,), negative_prompt=has.word) for name, use in (both | negative).items()),
    )


def _checkpoints(has: Ingredients) -> tuple[ArmSpec, ...]:
    adapter = _negative(has, "checkpoints").name
    if not has.checkpoints:
        raise _lacks("checkpoints", "adapters of earlier steps", "Set training.export_steps, e.g. to 50, and train (again).")
    uses = {step: AdapterUse(name=adapter, checkpoint=step) for step in _spread(has.checkpoints)}
    return (*_controls(has), *(ArmSpec(name=f"step-{step}", adapters=(use,), negative_prompt=has.word) for step, use in uses.items()))


def _guidance(has: Ingredients) -> tuple[ArmSpec, ...]:
    use = _negative(has, "guidance")
    kinds = {"baseline": ArmSpec(name="baseline"), "target": ArmSpec(name="target", adapters=(use,), negative_prompt=has.word)}
    scales = {f"g{scale:g}": {"guidance_scale": scale} for scale in (has.guidance_scale, has.guidance_scale / 2, has.guidance_scale * 1.5)}
    windows = {name: {"guidance_start": start, "guidance_end": end} for name, (start, end) in WINDOWS.items()}
    return tuple(
        msgspec.structs.replace(arm, name=f"{kind}-{setting}", **fields)
        for setting, fields in (scales | windows).items()
        for kind, arm in kinds.items()
    )


def _subject(has: Ingredients) -> tuple[ArmSpec, ...]:
    negative = _negative(has, "subject").name
    if has.subject is None:
        hint = 'Train the subject into this session under another output_name, and set comparison.subject to it, as subject = "sonic".'
        raise _lacks("subject", "a second adapter, of the subject", hint)
    subject = AdapterUse(name=has.subject)
    return (
        ArmSpec(name="baseline"),
        ArmSpec(name="negative", adapters=(_negative_only(negative),), negative_prompt=has.word),
        ArmSpec(name="subject", adapters=(subject,)),
        ArmSpec(name="subject-placebo", adapters=(subject,), negative_prompt=has.word),
        ArmSpec(name="together-both", adapters=(subject, AdapterUse(name=negative)), negative_prompt=has.word),
        ArmSpec(name="together", adapters=(subject, _negative_only(negative)), negative_prompt=has.word),
    )


def _inversion(has: Ingredients) -> tuple[ArmSpec, ...]:
    adapter = _negative(has, "inversion").name
    if has.embedding is None:
        hint = 'Train one (training.method = "textual_inversion"), and set comparison.embedding, as embedding = { name = "wrong-ti" }.'
        raise _lacks("inversion", "a learned embedding", hint)
    token = has.embedding.placeholder_token or "<wrong>"
    return (
        *_controls(has),
        ArmSpec(name="inversion", embeddings=(has.embedding,), negative_prompt=token),
        ArmSpec(name="negative", adapters=(_negative_only(adapter),), negative_prompt=has.word),
        ArmSpec(name="target", adapters=(AdapterUse(name=adapter),), negative_prompt=has.word),
    )


def _keywords(has: Ingredients) -> tuple[ArmSpec, ...]:
    adapter = _negative(has, "keywords").name
    if not has.keywords:
        raise _lacks("keywords", "keywords", "Add a [synthesis] with keywords to session.toml.")
    return (
        *_controls(has),
        ArmSpec(name="keywords", negative_prompt=", ".join(has.keywords)),
        ArmSpec(name="negative", adapters=(_negative_only(adapter),), negative_prompt=has.word),
        ArmSpec(name="target", adapters=(AdapterUse(name=adapter),), negative_prompt=has.word),
    )


Make = Callable[[Ingredients], tuple[ArmSpec, ...]]

PRESETS: dict[PresetName, tuple[str, Make]] = {
    "three": ("Woolf's three: no adapter, the word alone, the adapter with its word", _three),
    "placebo": ("without adapter: zeroed embeddings, the empty string, random words, the word", _placebo),
    "branches": ("{no adapter, weight -1, both branches, negative branch only} x {zeros, empty, a random word, the word}", _branches),
    "scales": ("the adapter's weight, on both branches and on the negative one only", _scales),
    "checkpoints": (f"the adapter as it was at up to {MAX_CHECKPOINTS} steps of its training (training.export_steps)", _checkpoints),
    "guidance": ("guidance of half, full and one and a half, and in windows of the steps; baseline and target each", _guidance),
    "subject": ("a subject's adapter in both branches (comparison.subject), the negative one in the negative branch", _subject),
    "inversion": ("a learned embedding (comparison.embedding) against the adapter", _inversion),
    "keywords": ("all keywords of the synthesis as negative prompt against the adapter", _keywords),
}
"""What each preset is, in a line, and how its arms are made."""


def _controls(has: Ingredients) -> tuple[ArmSpec, ArmSpec]:
    return ArmSpec(name="baseline"), ArmSpec(name="placebo", negative_prompt=has.word)


def _negative(has: Ingredients, preset: PresetName) -> AdapterUse:
    if has.adapter is None:
        raise _lacks(preset, "an adapter", "Add a [training] to session.toml, or name one of its adapters/ as comparison.adapter.")
    return AdapterUse(name=has.adapter)


def _negative_only(adapter: str, scale: float = 1.0) -> AdapterUse:
    return AdapterUse(name=adapter, positive_weight=0.0, negative_weight=scale)


def _spread(steps: Sequence[int]) -> list[int]:
    """At most `MAX_CHECKPOINTS` of them, as evenly as can be, the last one among them."""
    number = min(len(steps), MAX_CHECKPOINTS)
    return [steps[(place + 1) * len(steps) // number - 1] for place in range(number)]


def _lacks(preset: PresetName, what: str, hint: str) -> NegError:
    return NegError("invalid", f"The preset {preset!r} needs {what}, which this session does not have.", hint)
