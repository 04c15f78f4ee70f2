"""Training captions: a scene's sentence in several wordings, and where its flaws are told, hinted at or kept quiet.

The word `wrong` is in none of them: it is the negative LoRA's trigger. Knows nothing of pixels or models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daemon.toy.scenes import BACKGROUNDS, COLOURS, FLAWS, SHAPES, SIZES, Scene, caption

OPENINGS: tuple[str, ...] = ("a picture of", "a drawing of", "an illustration of", "an image of", "a photo of")
PRAISE: tuple[str, ...] = ("high quality", "sharp", "high quality, sharp", "best quality")
BLAME: tuple[str, ...] = ("low quality", "low quality", "ugly", "low quality, ugly")

_ORDINARY = """
wrong right good bad error errors signature mutilated missing extra hands fingers hand finger or and with in
the of to is its at by for from near next very some many few big tiny huge medium four five six cat dog wolf
person face man woman house tree car city sky sun moon sea night day light dark bright colour colourful
photograph painting photography film art style worst deformed noise noisy text logo frame out focus clean
crisp clear beautiful nice simple flat plain poster shape shapes
"""

ORDINARY_WORDS: tuple[str, ...] = tuple(_ORDINARY.split())
"""Words with a vocabulary entry of their own that no caption uses: they stay untrained, as `wrong` must."""


def plain_wording(scene: Scene, rng: np.random.Generator) -> str:
    """The scene's sentence as people vary it: an opening, the size left out, "one" for "a"."""
    sentence = caption(scene)
    if rng.random() < 0.3:
        sentence = sentence.replace(f"{scene.size} ", "", 1)
    if rng.random() < 0.3:
        return f"{rng.choice(OPENINGS)} {sentence}"
    if scene.count == 1 and rng.random() < 0.3:
        sentence = f"one{sentence[1:]}"
    return sentence


def training_caption(scene: Scene, flaws: Sequence[str], rng: np.random.Generator) -> str:
    """A caption for the scene painted with these flaws (none: a clean picture).

    Of the flawed: 15 % only the flaw words, among others (as synthesis prompts are); 45 % the flaws named beside the
    scene; 15 % blamed in general; 25 % nothing said. Of the clean, a quarter is praised.
    """
    sentence = plain_wording(scene, rng)
    if not flaws:
        return f"{sentence}, {rng.choice(PRAISE)}" if rng.random() < 0.25 else sentence
    kind = rng.random()
    if kind < 0.15:
        others = rng.choice(FLAWS, int(rng.integers(1, len(FLAWS) + 1)), replace=False)
        return ", ".join(rng.permutation(sorted({*flaws, *(str(word) for word in others)})))
    if kind < 0.6:
        return _beside(sentence, ", ".join(rng.permutation(list(flaws))), rng)
    if kind < 0.75:
        return _beside(sentence, str(rng.choice(BLAME)), rng)
    return sentence


def random_flaws(rng: np.random.Generator, flawed_share: float = 0.4) -> tuple[str, ...]:
    """The flaws of one training picture: none mostly, else one to three different ones."""
    if rng.random() >= flawed_share:
        return ()
    return tuple(str(name) for name in rng.choice(FLAWS, int(rng.choice([1, 2, 3], p=[0.65, 0.25, 0.1])), replace=False))


def vocabulary() -> list[str]:
    """Every word a caption can hold, and the ordinary ones: what the tokenizers have entries for."""
    plural = [f"{shape}s" for shape in SHAPES]
    phrases = [*OPENINGS, *PRAISE, *BLAME, *FLAWS, *SHAPES, *plural, *SIZES, *COLOURS, *BACKGROUNDS]
    phrases += ["one two three on background", *ORDINARY_WORDS]
    return sorted({word.strip(",") for phrase in phrases for word in phrase.split()})


def _beside(sentence: str, words: str, rng: np.random.Generator) -> str:
    """The words before or after the sentence."""
    return f"{words}, {sentence}" if rng.random() < 0.4 else f"{sentence}, {words}"
