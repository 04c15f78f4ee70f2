from typing import get_args

import pytest

from daemon.jobs.states import AT_WORK, ENDED, HOPELESS, MOVES, after_end, after_stop, require_move
from daemon.protocol.errors import NegError
from daemon.protocol.events import State


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(get_args(State))
    assert all(targets <= set(MOVES) for targets in MOVES.values())


def test_only_done_is_for_ever() -> None:
    assert [state for state, targets in MOVES.items() if not targets] == ["done"]
    assert HOPELESS < ENDED
    assert not AT_WORK & ENDED


def test_illegal_moves_are_refused_and_staying_is_not() -> None:
    require_move("queued", "running")
    require_move("done", "done")
    with pytest.raises(NegError) as refusal:
        require_move("done", "queued")
    assert refusal.value.detail.code == "wrong_state"


def test_where_an_end_leads() -> None:
    assert after_end("done", "cancel") == "done"
    assert after_end("failed", "run") == "failed"
    assert after_end("paused", "cancel") == "cancelled"
    assert after_end("cancelled", "run") == "queued"
    assert after_stop("pause") == "paused"
