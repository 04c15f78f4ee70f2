"""Shapes of voting: bounded from outside, and a trial that tells nobody's name."""

import msgspec
import pytest

from daemon.protocol.voting import RoundSpec, Trial


@pytest.mark.parametrize(
    "bad",
    [{"num_shown": 4}, {"num_shown": 1}, {"repeat_share": 1.5}, {"num_trials": 0}, {"seed": -1}, {"arms": ["Not A Name"]}, {"arm": []}],
)
def test_a_bad_round_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, RoundSpec)


def test_a_trial_has_no_field_for_an_arm_a_seed_or_a_repeat() -> None:
    assert set(Trial.__struct_fields__) == {"number", "prompt", "paths", "width", "height"}
