"""Curves by hand: sizes, cosines, gaps."""

import numpy as np
import pytest

from daemon.comparison.guidance import guidance_curves, guidance_map, mean_guidance
from daemon.engine.base import Prediction
from daemon.protocol.diagnosis import CURVES, ArmGuidance


def one(*values: float) -> np.ndarray:
    """(4, 1, 1)"""
    return np.array(values, np.float32).reshape(4, 1, 1)


P, N, P0, N0 = one(3, 0, 0, 0), one(0, 4, 0, 0), one(2, 0, 0, 0), one(0, 2, 0, 0)
GUIDED = Prediction(999.0, P, N, P0, N0)
FREE = Prediction(500.0, P, None, P0, None)
BASELINE = (Prediction(999.0, P, one(0, 0, 0, 0), None, None), Prediction(500.0, P, N, None, None))


def test_sizes_are_root_mean_squares_and_cosines_are_between_directions() -> None:
    curves = guidance_curves((GUIDED,), BASELINE)
    assert list(curves) == list(CURVES)
    values = {name: curve[0] for name, curve in curves.items()}
    assert values["positive_norm"] == pytest.approx(1.5)
    assert values["negative_norm"] == pytest.approx(2.0)
    assert values["guidance_norm"] == pytest.approx(2.5)
    assert values["cosine_positive_negative"] == 0
    assert values["adapter_positive_norm"] == pytest.approx(0.5)
    assert values["adapter_negative_norm"] == pytest.approx(1.0)
    assert values["cosine_positive_plain"] == values["cosine_negative_plain"] == pytest.approx(1.0)
    assert values["cosine_guidance_plain"] == pytest.approx((3 * 2 + 4 * 2) / (5 * 8**0.5), rel=1e-5)
    assert values["cosine_guidance_baseline"] == pytest.approx(3 / 5)


def test_an_unguided_step_is_a_gap() -> None:
    curves = guidance_curves((GUIDED, FREE), BASELINE)
    assert curves["guidance_norm"] == (pytest.approx(2.5), None)
    assert curves["positive_norm"] == (pytest.approx(1.5), pytest.approx(1.5))
    assert curves["cosine_guidance_baseline"][1] is None


def test_without_adapters_there_is_nothing_of_them_and_the_baseline_is_not_held_against_itself() -> None:
    curves = guidance_curves(BASELINE, BASELINE)
    assert set(curves) == {"positive_norm", "negative_norm", "guidance_norm", "cosine_positive_negative"}
    assert curves["cosine_positive_negative"][0] is None, "zeros have no direction"


def test_the_map_sums_lengths_over_guided_steps() -> None:
    assert guidance_map((GUIDED, GUIDED, FREE)) == pytest.approx(np.array([[10.0]]))
    assert guidance_map((FREE,)) == pytest.approx(np.zeros((1, 1)))


def test_blocks_are_averaged_step_by_step_and_gaps_stay() -> None:
    ways = [
        ArmGuidance(arm="target", timesteps=(9.0, 5.0), curves={"guidance_norm": values, "only_here": (1.0, 1.0)})
        for values in ((1.0, None), (3.0, 4.0))
    ]
    ways[1] = ArmGuidance(arm="target", timesteps=(9.0, 5.0), curves={"guidance_norm": (3.0, 4.0)})
    found = mean_guidance(ways)
    assert found.curves == {"guidance_norm": (2.0, None)}
    assert (found.arm, found.timesteps) == ("target", (9.0, 5.0))
