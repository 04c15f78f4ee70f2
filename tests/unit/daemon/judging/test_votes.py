"""What stands after the lines of `votes.jsonl`, whatever a crash or an editor did to them."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.judging.votes import VOTES_FILE, Closed, Line, Opened, Undone, Voted, append, fold, read_rounds, read_votes
from daemon.protocol.voting import Choice, RoundSpec

A, B = "a" * 12, "b" * 12


def opened(id: str = A, voter: str = "me") -> Opened:
    return Opened(
        round_id=id, time=1.0, voter=voter, spec=RoundSpec(seed=0), arms=("baseline", "target"), pictures_sha256="p", num_trials=9
    )


def voted(number: int, choice: Choice = "first", id: str = A) -> Voted:
    return Voted(
        round_id=id, time=2.0, voter="me", number=number, prompt="p", seed=1, arms=("target", "baseline"), sha256s=("t", "b"),
        choice=choice, chosen="target" if choice == "first" else "",
    )  # fmt: skip


CLOSED = Closed(round_id=A, time=3.0)


def written(folder: Path, *lines: Line) -> Path:
    for line in lines:
        append(folder, line)
    return folder


def test_no_file_is_no_round(tmp_path: Path) -> None:
    assert read_rounds(tmp_path) == {}
    assert read_votes(tmp_path) == ()


def test_votes_are_told_once_their_round_is_closed(tmp_path: Path) -> None:
    written(tmp_path, opened(), opened(B, "you"), voted(1, "tie"), voted(0), voted(0, id=B))
    assert read_votes(tmp_path) == ()
    written(tmp_path, CLOSED)
    assert [(vote.number, vote.choice, vote.chosen, vote.arms) for vote in read_votes(tmp_path)] == [
        (0, "first", "target", ("target", "baseline")),
        (1, "tie", "", ("target", "baseline")),
    ]


def test_an_undone_vote_is_gone_and_may_be_cast_anew(tmp_path: Path) -> None:
    undone = Undone(round_id=A, time=2.5, number=0)
    written(tmp_path, opened(), voted(0), undone)
    assert read_rounds(tmp_path)[A].votes == {}
    written(tmp_path, voted(0, "both_bad"))
    assert read_rounds(tmp_path)[A].votes[0].choice == "both_bad"


def test_nothing_is_added_to_a_closed_round_or_to_none(tmp_path: Path) -> None:
    written(tmp_path, voted(5), opened(), voted(0), CLOSED, voted(1), Undone(round_id=A, time=4.0, number=0), voted(0, id=B))
    assert list(read_rounds(tmp_path)) == [A]
    assert list(read_rounds(tmp_path)[A].votes) == [0]


@settings(max_examples=40)
@given(st.integers(0, 400))
def test_a_torn_end_costs_that_line_only(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = written(tmp_path_factory.mktemp("votes"), opened(), voted(0), voted(1))
    path = folder / VOTES_FILE
    content = path.read_bytes()
    last = len(content.rstrip(b"\n").rpartition(b"\n")[2])
    path.write_bytes(content[: len(content) - 1 - min(cut, last)])
    whole = {0, 1} if cut == 0 else {0}
    assert set(read_rounds(folder)[A].votes) == whole
    written(folder, voted(2))
    assert set(read_rounds(folder)[A].votes) == whole | {2}


def test_lines_that_are_no_votes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / VOTES_FILE).write_bytes(b'\xff\xfe\n{"type":"Voted"}\n[1]\n\n' + msgspec.json.encode(opened()) + b"\n")
    assert list(read_rounds(tmp_path)) == [A]


def test_a_line_tells_what_it_is_about(tmp_path: Path) -> None:
    written(tmp_path, voted(0))
    told = msgspec.json.decode((tmp_path / VOTES_FILE).read_bytes())
    assert told["type"] == "Voted"
    assert {"prompt", "seed", "arms", "sha256s", "chosen", "voter", "time"} <= set(told)


lines = st.one_of(
    st.sampled_from([opened(), opened(B), CLOSED, Closed(round_id=B, time=1.0)]),
    st.builds(voted, st.integers(0, 4), st.sampled_from(["first", "tie", "skip"]), st.sampled_from([A, B])),
    st.builds(lambda number, id: Undone(round_id=id, time=1.0, number=number), st.integers(0, 4), st.sampled_from([A, B])),
)


@given(st.lists(lines, max_size=30))
def test_each_round_stands_as_if_it_were_alone(told: list[Line]) -> None:
    together = fold(told)
    for id in (A, B):
        alone = fold([line for line in told if line.round_id == id])
        assert alone.get(id) == together.get(id)


@given(st.lists(lines, max_size=20))
def test_a_line_told_again_at_once_changes_nothing(told: list[Line]) -> None:
    assert fold(told) == fold([line for line in told for _ in range(2)])
