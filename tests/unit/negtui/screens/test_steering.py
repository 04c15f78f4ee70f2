from __future__ import annotations

import pytest

from negtui.acts import STANDING
from negtui.keys import TRAIN
from negtui.screens.steering import SteeringScreen
from negtui.view import OPEN


@pytest.mark.parametrize("key", [key for key in TRAIN if key.changes], ids=lambda key: key.id)
def test_every_key_that_changes_a_training_has_its_action(key: object) -> None:
    assert callable(getattr(SteeringScreen, f"action_{getattr(key, 'action', '')}"))


def test_a_run_stands_or_is_under_way_or_is_done() -> None:
    assert set(STANDING) | set(OPEN) == {"queued", "running", "pausing", "paused", "blocked", "failed", "cancelled"}
