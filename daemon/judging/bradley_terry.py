"""Bradley-Terry with ties by Davidson (1970): how strong each arm is, from how often it was preferred. Pure numpy, many fits at once.

    P(i beats j) = p_i / (p_i + p_j + nu sqrt(p_i p_j)),   P(tie) = nu sqrt(p_i p_j) / (p_i + p_j + nu sqrt(p_i p_j))

With p = exp(theta) and nu = exp(eta) it is log-linear, so the likelihood has one hill: Newton's method climbs it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pairs = tuple[tuple[int, int], ...]

RIDGE = 1e-4
"""A faint pull to zero: without ties, or where an arm wins every vote, the hill has no top. It shifts an ordinary fit by about 1e-5."""
MAX_STRENGTH = 7.0
"""Beyond it (1,100 to 1) a strength is the ridge's doing, not the votes'."""
_MAX_STEPS = 60
_LONGEST_STEP = 2.0
_CHUNK = 256


def fit(counts: Floats, pairs: Pairs, num_arms: int, ridge: float = RIDGE) -> Floats:
    """(B, P, 3) votes (first preferred, second preferred, tie) of `pairs` -> (B, num_arms + 1): theta with mean 0, then eta."""
    if not pairs:
        return np.zeros((len(counts), num_arms + 1))
    design = _design(pairs, num_arms)
    parts = [_climb(counts[begin : begin + _CHUNK], design, ridge) for begin in range(0, len(counts), _CHUNK)]
    return np.concatenate(parts)


def expected_shares(parameters: Floats, pairs: Pairs) -> Floats:
    """(B, num_arms + 1) -> (B, P, 3): the chances of the three outcomes."""
    return _shares(parameters, _design(pairs, parameters.shape[1] - 1))


def _design(pairs: Pairs, num_arms: int) -> Floats:
    """(P, 3, num_arms + 1): what each outcome adds to the exponent. A tie counts half for each, and for eta."""
    design = np.zeros((len(pairs), 3, num_arms + 1))
    for number, (one, other) in enumerate(pairs):
        design[number, 0, one] = design[number, 1, other] = 1.0
        design[number, 2, [one, other]] = 0.5
        design[number, 2, num_arms] = 1.0
    return design


def _shares(parameters: Floats, design: Floats) -> Floats:
    exponents = np.einsum("bk,pok->bpo", parameters, design)
    raised = np.exp(exponents - exponents.max(axis=2, keepdims=True))
    shares: Floats = raised / raised.sum(axis=2, keepdims=True)
    return shares


def _climb(counts: Floats, design: Floats, ridge: float) -> Floats:
    size = design.shape[2]
    flat = design.reshape(-1, size)
    squares = (flat[:, :, None] * flat[:, None, :]).reshape(len(flat), -1)
    totals = counts.sum(axis=2)[..., None]
    told = counts.reshape(len(counts), -1) @ flat
    parameters = np.zeros((len(counts), size))
    for _ in range(_MAX_STEPS):
        shares = _shares(parameters, design)
        expected = (totals * shares).reshape(len(counts), -1)
        means = np.einsum("bpo,pok->bpk", shares, design)
        gradient = told - expected @ flat - ridge * parameters
        curvature = (expected @ squares).reshape(-1, size, size) - (totals * means).swapaxes(1, 2) @ means
        step = np.linalg.solve(curvature + ridge * np.eye(size), gradient[..., None])[..., 0]
        parameters += np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    parameters[:, :-1] -= parameters[:, :-1].mean(axis=1, keepdims=True)
    return parameters
