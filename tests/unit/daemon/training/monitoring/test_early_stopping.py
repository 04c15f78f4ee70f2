import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.early_stopping import EarlyStopping

figures = st.lists(st.floats(-9, 9).map(lambda value: round(value, 1)), max_size=30)


def fresh(patience: int = 2, *, scored: bool = False) -> EarlyStopping:
    return EarlyStopping(TrainingSpec(early_stopping_patience=patience), samples_are_scored=scored)


def test_it_ends_after_so_many_measurements_without_a_better_one() -> None:
    stopping = fresh()
    seen = [(stopping.observe(step, value), stopping.is_over) for step, value in ((10, 0.5), (20, 0.6), (30, 0.4), (40, 0.4), (50, 0.5))]
    assert seen == [(True, False), (False, False), (True, False), (False, False), (False, True)]
    assert stopping.best_step == 30
    assert stopping.reason == "held_out_loss has not fallen for 2 measurements; it was best at step 30 (0.4)"


def test_a_gain_should_rise() -> None:
    stopping = fresh(1, scored=True)
    assert stopping.observe(1, 0.1)
    assert stopping.observe(2, 0.2)
    assert not stopping.observe(3, 0.2)
    assert stopping.reason == "sampled_gain has not risen for 1 measurements; it was best at step 2 (0.2)"


@given(figures, st.integers(1, 5), st.booleans(), st.data())
def test_gone_on_with_from_its_facts_it_decides_the_same(values: list[float], patience: int, scored: bool, data: st.DataObject) -> None:
    whole, halted = fresh(patience, scored=scored), fresh(patience, scored=scored)
    cut = data.draw(st.integers(0, len(values)))
    for step, value in enumerate(values, 1):
        if step == cut + 1:
            facts = json.loads(json.dumps(halted.facts()))
            halted = fresh(patience, scored=scored)
            halted.restore(facts)
        assert whole.observe(step, value) == halted.observe(step, value)
        assert (whole.is_over, whole.best_step) == (halted.is_over, halted.best_step)


@given(figures.filter(bool))
def test_a_measurement_made_once_more_counts_once(values: list[float]) -> None:
    once, twice = fresh(), fresh()
    for step, value in enumerate(values, 1):
        found = once.observe(step, value)
        assert twice.observe(step, value) == twice.observe(step, value) == found
    assert once.facts() == twice.facts()


def test_facts_that_are_none_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        fresh().restore({"best": "good"})
