"""The fit is choix's where there are no ties, and the likelihood's own top, as scipy finds it, where there are."""

import itertools

import numpy as np
import pytest
import scipy.optimize

from daemon.judging.bradley_terry import MAX_STRENGTH, expected_shares, fit

WINS = ((0, 12, 3, 7), (9, 0, 11, 4), (15, 10, 0, 8), (2, 9, 5, 0))
CHOIX = (-0.11629329, -0.17624778, 0.41110803, -0.11856696)
"""choix 0.4.1: `mm_pairwise(4, [(i, j) for i, j, n in WINS for _ in range(n)], tol=1e-12)`, less its mean; `ilsr_pairwise` the same."""
PAIRS = tuple(itertools.combinations(range(4), 2))


def counts_of(wins: tuple[tuple[int, ...], ...], num_ties: int = 0) -> np.ndarray:
    return np.array([[wins[one][other], wins[other][one], num_ties] for one, other in PAIRS], float)[None]


def test_without_ties_it_is_choix_s() -> None:
    assert fit(counts_of(WINS), PAIRS, 4)[0, :4] == pytest.approx(CHOIX, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_with_ties_it_is_the_top_of_davidson_s_likelihood(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(1, 20, (1, len(PAIRS), 3)).astype(float)

    def minus_log_likelihood(free: np.ndarray) -> float:
        theta, nu = np.concatenate([[0.0], free[:3]]), np.exp(free[3])
        total = 0.0
        for number, (one, other) in enumerate(PAIRS):
            p, q = np.exp(theta[one]), np.exp(theta[other])
            parts = np.array([p, q, nu * np.sqrt(p * q)])
            total -= counts[0, number] @ np.log(parts / parts.sum())
        return total

    top = scipy.optimize.minimize(minus_log_likelihood, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    found = fit(counts, PAIRS, 4)[0]
    assert found[1:4] - found[0] == pytest.approx(top[:3], abs=1e-4)
    assert found[4] == pytest.approx(top[3], abs=1e-4)


def test_shares_are_given_back() -> None:
    truth = np.array([[-0.4, 0.1, 0.6, -0.3, -0.5]])
    assert fit(1000 * expected_shares(truth, PAIRS), PAIRS, 4) == pytest.approx(truth, abs=1e-5)


def test_many_fits_at_once_are_each_their_own() -> None:
    counts = np.random.default_rng(1).integers(0, 9, (300, len(PAIRS), 3)).astype(float)
    together = fit(counts, PAIRS, 4)
    assert together[[0, 255, 256, 299]] == pytest.approx(
        np.concatenate([fit(counts[[row]], PAIRS, 4) for row in (0, 255, 256, 299)]), abs=1e-7
    )


@pytest.mark.parametrize("ties", [0, 30])
def test_what_has_no_top_stays_finite(ties: int) -> None:
    counts = np.zeros((1, 1, 3))
    counts[0, 0] = (0, 0, ties) if ties else (40, 0, 0)
    found = fit(counts, ((0, 1),), 2)
    assert np.isfinite(found).all()
    difference = found[0, 0] - found[0, 1]
    assert difference == pytest.approx(0, abs=1e-6) if ties else difference > MAX_STRENGTH


def test_no_votes_are_no_difference() -> None:
    assert fit(np.zeros((2, 0, 3)), (), 3) == pytest.approx(np.zeros((2, 4)))
    assert fit(np.zeros((1, 6, 3)), PAIRS, 4) == pytest.approx(np.zeros((1, 5)))
