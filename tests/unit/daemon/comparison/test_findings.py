"""The note under a picture."""

import pytest

from daemon.comparison.findings import note


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"contrast": 0.5}, ""),
        ({"flaw_probability": 0.1349}, "flaw 0.13"),
        ({"flaw_probability": 0.9, "adherence": 1.0}, "flaw 0.90, as asked"),
        ({"adherence": 0.0}, "not as asked"),
    ],
)
def test_a_note_holds_the_figures_of_quality(values: dict[str, float], expected: str) -> None:
    assert note(values) == expected
