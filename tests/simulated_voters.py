"""Voters whose preferences are known: prompts differ in what they do for an arm, and all voters of a prompt see the same pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daemon.judging.bradley_terry import expected_shares
from daemon.protocol.voting import Choice, Vote

ARMS = ("baseline", "placebo", "target")
PAIRS = ((2, 0), (2, 1), (1, 0))
OUTCOMES: tuple[Choice, ...] = ("first", "second", "tie")


def shares(strengths: np.ndarray, eta: float) -> np.ndarray:
    """(..., arms) -> (..., pairs, 3): Davidson's chances of the outcomes."""
    flat = strengths.reshape(-1, strengths.shape[-1])
    found = expected_shares(np.concatenate([flat, np.full((len(flat), 1), eta)], axis=1), PAIRS)
    return found.reshape(*strengths.shape[:-1], len(PAIRS), 3)


def drawn_strengths(rng: np.random.Generator, strengths: Sequence[float], spread: float, num_prompts: int) -> np.ndarray:
    """(num_prompts, arms): what each prompt's pictures are worth."""
    return np.asarray(strengths) + rng.normal(0, spread, (num_prompts, len(strengths)))


def simulate(
    rng: np.random.Generator, strengths: Sequence[float], *, eta: float, spread: float, num_prompts: int, num_voters: int
) -> list[Vote]:
    """Every voter judges every pair of every prompt once."""
    chances = shares(drawn_strengths(rng, strengths, spread, num_prompts), eta)
    drawn = rng.random((num_prompts, num_voters, len(PAIRS), 1))
    outcomes = (drawn > chances.cumsum(axis=-1)[:, None, :, :2]).sum(axis=-1)
    return [
        vote(f"prompt {prompt}", [ARMS[arm] for arm in PAIRS[pair]], OUTCOMES[outcome], voter=f"voter{voter}", number=number)
        for number, ((prompt, voter, pair), outcome) in enumerate(np.ndenumerate(outcomes))
    ]


def vote(
    prompt: str, arms: Sequence[str], choice: Choice, *, voter: str = "me", number: int = 0, seed: int = 0, is_repeat: bool = False
) -> Vote:
    place = {"first": 0, "second": 1, "third": 2}.get(choice)
    return Vote(
        round_id="0" * 12,
        voter=voter,
        time=float(number),
        number=number,
        prompt=prompt,
        seed=seed,
        arms=tuple(arms),
        sha256s=tuple(f"{prompt} {seed} {arm}" for arm in arms),
        choice=choice,
        chosen="" if place is None else arms[place],
        is_repeat=is_repeat,
    )
