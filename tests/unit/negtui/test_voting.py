"""Votes in words: nothing wider than a terminal, no infinity, no name that cannot be one."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.judging.results import vote_results
from daemon.protocol.errors import NegError
from daemon.protocol.results import VotesAnswer
from daemon.protocol.voting import RoundRow, RoundSpec, VoteResults
from negtui.voting import csv_text, default_voter, open_row, result_lines, round_spec, rounds_lines, voter_name
from tests.simulated_voters import ARMS, vote


def answer(results: VoteResults | None = None, *rows: RoundRow) -> VotesAnswer:
    return VotesAnswer(session="toy", comparison="default", arms=ARMS, num_blocks=9, rounds=rows, results=results)


def row(voter: str = "me", is_closed: bool = False) -> RoundRow:
    return RoundRow(id="a" * 12, voter=voter, num_trials=9, num_voted=4, is_closed=is_closed, opened=0.0)


@pytest.mark.parametrize(("text", "name"), [("me", "me"), ("Ada L", "ada-l"), ("  x_1. ", "x_1"), ("root", "root"), ("Zoë!", "zo")])
def test_a_voter_has_a_name(text: str, name: str) -> None:
    assert voter_name(text) == name


@pytest.mark.parametrize("text", ["", "  ", "...", "日本"])
def test_what_leaves_no_name_is_said(text: str) -> None:
    with pytest.raises(NegError, match="cannot name a voter"):
        voter_name(text)


def test_there_is_a_voter_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "Some One")
    assert default_voter() == "some-one"
    monkeypatch.setattr("getpass.getuser", lambda: "日本")
    assert default_voter() == "voter"


def test_what_was_written_becomes_a_round() -> None:
    assert round_spec({}) == RoundSpec()
    written = {"arms": "target, placebo", "num_shown": " 2 ", "num_trials": "12", "repeat_share": "0.25", "seed": "3"}
    assert round_spec(written) == RoundSpec(arms=("target", "placebo"), num_shown=2, num_trials=12, repeat_share=0.25, seed=3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_shown": "two"}, "num_shown"),
        ({"num_shown": "4"}, "num_shown"),
        ({"repeat_share": "2"}, "repeat_share"),
        ({"arms": "A!"}, "arms"),
    ],
)
def test_a_bad_line_is_named(fields: dict[str, str], said: str) -> None:
    with pytest.raises(NegError, match=said):
        round_spec(fields)


def test_the_open_round_is_the_voter_s_own() -> None:
    found = answer(None, row("you"), row("me", is_closed=True), row("me"))
    assert open_row(found, "me") == row("me")
    assert open_row(found, "they") is None
    assert rounds_lines(found)[1:] == [
        "  you    4 of 9    open: not counted",
        "  me     4 of 9    closed",
        "  me     4 of 9    open: not counted",
    ]


def test_results_are_said_whole() -> None:
    votes = [vote(f"p{prompt}", ("target", other), "first" if prompt % 4 else "tie") for prompt in range(20) for other in ARMS[:2]]
    votes += [vote("p1", ("placebo", "target"), "second", is_repeat=True)]
    text = "\n".join(result_lines(answer(vote_results(votes, ARMS))))
    assert "target beats placebo: preferred in 88 %" in text
    assert "40 votes on 20 prompts in 1 closed round: 25 % ties, 0 % both bad among them; 0 skipped." in text
    assert "me: 40 votes; 1 of 1 asked again answered the same: 100 % [21 %, 100 %]." in text
    assert "inf" not in text


def test_no_closed_round_is_no_result() -> None:
    assert result_lines(answer(None, row())) == ["No round of votes is closed yet; only closed ones count."]


def test_what_has_no_bound_is_said_so() -> None:
    votes = [vote(f"p{prompt}", ("target", "baseline"), "first") for prompt in range(12)]
    text = "\n".join(result_lines(answer(vote_results(votes, ARMS))))
    assert "no bound" in text


@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["first", "tie"])), max_size=8))
def test_csv_gives_every_vote_back(told: list[tuple[str, str]]) -> None:
    votes = [vote(prompt, ("target", "placebo"), choice, number=number) for number, (prompt, choice) in enumerate(told)]  # type: ignore[arg-type]
    rows = list(csv.DictReader(io.StringIO(csv_text(votes), newline="")))
    assert [(row["prompt"], row["choice"], row["arms"]) for row in rows] == [(one.prompt, one.choice, "target placebo") for one in votes]
