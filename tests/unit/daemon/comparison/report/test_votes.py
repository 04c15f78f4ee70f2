"""The votes' section: what people preferred, in words, figures and plots; nothing where nobody voted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparing import job, prepare
from counting import CountingScorer
from found import findings
from painting import Desk
from test_page import Reader

from daemon.comparison.recipe import compare
from daemon.comparison.report.headline import find_headline
from daemon.comparison.report.markdown import render_markdown
from daemon.comparison.report.votes import strength_axis
from daemon.judging.results import vote_results
from daemon.judging.votes import Closed, Opened, Voted, append
from daemon.manifest import read_manifest
from daemon.protocol.voting import RoundSpec, VoteResults
from tests.simulated_voters import ARMS, simulate


def results(*strengths: float) -> VoteResults:
    votes = simulate(np.random.default_rng(3), strengths, eta=-0.7, spread=0.3, num_prompts=40, num_voters=2)
    return vote_results(votes, ARMS, num_resamples=400)


def cast(folder: Path, choice: str = "first") -> None:
    """A closed round of one voter: target against placebo in every block."""
    arms = ("baseline", "placebo", "target")
    opened = Opened(round_id="0" * 12, time=0.0, voter="ann", spec=RoundSpec(), arms=arms, num_trials=8, pictures_sha256="0")
    append(folder, opened)
    records = {(one.request.prompt, one.arm): one for one in read_manifest(folder / "manifest.jsonl")}
    for number, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in records)):
        shown = [records[prompt, arm] for arm in ("target", "placebo")]
        vote = Voted(
            round_id="0" * 12,
            time=1.0,
            voter="ann",
            number=number,
            prompt=prompt,
            seed=shown[0].request.seed,
            arms=("target", "placebo"),
            sha256s=tuple(one.sha256 for one in shown),
            choice=choice,  # type: ignore[arg-type]
            chosen="target" if choice == "first" else "placebo",
        )
        append(folder, vote)
    append(folder, Closed(round_id="0" * 12, time=2.0))


def test_votes_speak_first_and_the_measures_after_them() -> None:
    clear = find_headline(replace(findings(), votes=results(0.0, 0.1, 2.0)))
    assert (clear.text, clear.tone) == ("target beats the placebo: people prefer it", "good")
    assert clear.details[0].startswith("blind votes: preferred in ")
    assert clear.details[1].startswith("flaw probability")
    assert find_headline(replace(findings(), votes=results(0.0, 2.0, 0.0))).tone == "bad"
    unclear = find_headline(replace(findings(), votes=results(0.0, 0.3, 0.4)))
    assert unclear.text == "target beats the placebo"
    assert unclear.details[0].startswith("blind votes: ")


def test_strengths_without_a_bound_still_have_an_axis() -> None:
    beyond = results(0.0, 0.0, 30.0)
    assert any(one.high is None for one in beyond.strengths)
    assert 0 < strength_axis(beyond).none < 100


def test_the_markdown_twin_has_them_too() -> None:
    assert "## Blind votes" not in render_markdown(findings(), [])
    assert "| target | placebo | " in render_markdown(replace(findings(), votes=results(0.0, 0.1, 2.0)), [])


def test_a_closed_round_is_in_the_report_when_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    *_, saved = compare(job(8), Desk(prepare(tmp_path)).context)
    path = tmp_path / saved.report_path
    assert "Blind votes" not in path.read_text("utf-8")
    cast(path.parent)
    desk = Desk(tmp_path)
    list(compare(job(8), desk.context))
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    assert reader.open == []
    assert "Blind votes" in reader.text
    assert "target beats the placebo: people prefer it" in reader.text
    assert "8, 0, 0" in reader.text
    assert "ann" in reader.text
    assert (desk.engine.painted, scorer.num_measured) == ([], 24)
    before = path.stat().st_mtime_ns
    list(compare(job(8), Desk(tmp_path).context))
    assert path.stat().st_mtime_ns == before
