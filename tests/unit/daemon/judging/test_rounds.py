"""Rounds on the disk: gone on with after a loss of memory, answered once, closed for good; no answer tells an arm."""

from pathlib import Path

import pytest

from daemon.judging.rounds import NUM_AHEAD, Rounds
from daemon.judging.votes import read_rounds, read_votes
from daemon.protocol import codec
from daemon.protocol.errors import NegError
from daemon.protocol.results import RoundAnswer
from daemon.protocol.voting import RoundSpec
from daemon.sessions import Comparisons
from tests.judged_blocks import ARMS, blocks, write_comparison

PLACE = ("mine", "default")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine/comparisons/default"
    folder.mkdir(parents=True)
    (tmp_path / "mine/session.toml").write_text('[model]\nbase = "toy"\n')
    write_comparison(folder, blocks(8))
    return folder


def rounds(folder: Path) -> Rounds:
    """As of a daemon that has just begun."""
    return Rounds(Comparisons(folder.parents[2]))


def opened(folder: Path, voter: str = "me", spec: RoundSpec | None = None) -> RoundAnswer:
    return rounds(folder).open(*PLACE, voter, spec)[0]


def test_a_round_goes_on_where_it_was(folder: Path) -> None:
    first = opened(folder, spec=RoundSpec(num_trials=5, repeat_share=0.2))
    assert (first.round.num_trials, first.round.num_voted, len(first.trials), first.last_number) == (6, 0, NUM_AHEAD, None)
    rounds(folder).cast(*PLACE, first.round.id, 0, "first")
    again = opened(folder)
    assert (again.round.id, again.round.num_voted, again.last_number) == (first.round.id, 1, 0)
    assert [trial.number for trial in again.trials] == [1, 2, 3, 4]
    assert again.trials[:3] == first.trials[1:]


def test_no_answer_tells_an_arm(folder: Path) -> None:
    answer = opened(folder)
    told = codec.encode(answer) + codec.encode(rounds(folder).cast(*PLACE, answer.round.id, 0, "first"))
    assert not [name for name in ARMS if name.encode() in told]


def test_the_pictures_are_those_of_the_answer_key(folder: Path) -> None:
    answer = opened(folder)
    for trial in answer.trials:
        rounds(folder).cast(*PLACE, answer.round.id, trial.number, "second")
    rounds(folder).close(*PLACE, answer.round.id)
    painted = {cell.image.path: (block.prompt, cell.image.arm) for block in blocks(8) for cell in block.cells}
    for trial, vote in zip(answer.trials, read_votes(folder), strict=True):
        assert [painted[path] for path in trial.paths] == [(vote.prompt, arm) for arm in vote.arms]
        assert vote.chosen == vote.arms[1]


def test_an_answer_stands_until_it_is_undone(folder: Path) -> None:
    made, answer = rounds(folder), opened(folder)
    id = answer.round.id
    assert made.cast(*PLACE, id, 0, "first") == made.cast(*PLACE, id, 0, "first")
    with pytest.raises(NegError) as refused:
        made.cast(*PLACE, id, 0, "tie")
    assert refused.value.detail.code == "conflict"
    undone = made.undo(*PLACE, id, 0)
    assert (undone.round.num_voted, undone.trials[0].number, undone.last_number) == (0, 0, None)
    assert made.undo(*PLACE, id, 0) == undone
    assert made.cast(*PLACE, id, 0, "tie").round.num_voted == 1
    assert len((folder / "votes.jsonl").read_text().splitlines()) == 4


def test_undo_takes_the_last_answer_whatever_its_number(folder: Path) -> None:
    made, id = rounds(folder), opened(folder).round.id
    made.cast(*PLACE, id, 3, "first")
    assert made.cast(*PLACE, id, 1, "skip").last_number == 1


def test_a_closed_round_stays_as_it_is(folder: Path) -> None:
    made, id = rounds(folder), opened(folder).round.id
    made.cast(*PLACE, id, 0, "first")
    made.close(*PLACE, id)
    made.close(*PLACE, id)
    for act in (lambda: made.cast(*PLACE, id, 1, "tie"), lambda: made.undo(*PLACE, id, 0)):
        with pytest.raises(NegError) as refused:
            act()
        assert refused.value.detail.code == "wrong_state"
    another = opened(folder)
    assert another.round.id != id
    assert read_rounds(folder)[another.round.id].opened.spec.seed == 1


@pytest.mark.parametrize(
    ("number", "choice", "code"), [(999, "first", "invalid"), (0, "third", "invalid"), (0, "both_bad", None), (0, "skip", None)]
)
def test_what_cannot_be_answered_is_said(folder: Path, number: int, choice: str, code: str | None) -> None:
    id = opened(folder).round.id
    if code is None:
        assert rounds(folder).cast(*PLACE, id, number, choice).round.num_voted == 1  # type: ignore[arg-type]
        return
    with pytest.raises(NegError) as refused:
        rounds(folder).cast(*PLACE, id, number, choice)  # type: ignore[arg-type]
    assert refused.value.detail.code == code


def test_one_open_round_a_voter_and_any_number_of_voters(folder: Path) -> None:
    spec = RoundSpec(num_trials=4)
    first = opened(folder, spec=spec)
    assert opened(folder, spec=spec).round.id == first.round.id
    with pytest.raises(NegError) as refused:
        opened(folder, spec=RoundSpec(num_trials=5))
    assert refused.value.detail.code == "conflict"
    assert opened(folder, "you", RoundSpec(num_trials=5)).round.id != first.round.id


def test_pictures_painted_anew_end_a_round(folder: Path) -> None:
    first = opened(folder)
    write_comparison(folder, blocks(8, same={(0, "target")}))
    with pytest.raises(NegError, match="painted anew"):
        rounds(folder).cast(*PLACE, first.round.id, 0, "first")
    answer, is_new, outdated = rounds(folder).open(*PLACE, "me", None)
    assert is_new
    assert answer.round.id != first.round.id
    assert [found.id for found in outdated] == [first.round.id]
    assert read_rounds(folder)[first.round.id].is_closed


def test_what_is_not_there_is_not_found(folder: Path) -> None:
    for act in (
        lambda: rounds(folder).open("mine", "nosuch", "me", None),
        lambda: rounds(folder).open("nosuch", "default", "me", None),
        lambda: rounds(folder).close(*PLACE, "a" * 12),
        lambda: rounds(folder).cast(*PLACE, "a" * 12, 0, "tie"),
    ):
        with pytest.raises(NegError) as refused:
            act()
        assert refused.value.detail.code == "not_found"
