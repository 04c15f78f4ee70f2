from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest

from daemon.protocol.effects import Claim
from daemon.protocol.events import AdapterSaved, AnyEvent, ComparisonSaved, JobRow
from tests.fake_daemon import FakeDaemon, call, good


def test_a_run_that_finds_all_there_says_so() -> None:
    code, out, _ = call(FakeDaemon(lambda row: good(row, reused=True)), "run", "toy")
    assert code == 0
    assert "Nothing had to be computed: everything was there." in out
    assert "synthesise 0 made, 4 reused" in out


@pytest.mark.parametrize("argv", [["--json", "run", "toy"], ["run", "toy", "--json"]])
def test_json_lines_of_a_run_parse_and_end_with_the_summary(argv: list[str]) -> None:
    code, out, _ = call(FakeDaemon(good), *argv)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert lines[-1]["type"] == "Summary"
    assert lines[-1]["computed"] is True
    assert lines[-1]["acts"][1]["adapter"]["sha256"] == "ab" * 32
    assert {"ImageSaved", "AdapterSaved", "ComparisonSaved"} <= {line["event"]["type"] for line in lines if "event" in line}
    assert "\x1b" not in out


def test_an_adapter_that_is_not_of_the_last_step_says_whose_weights_it_holds() -> None:
    def stopped(row: JobRow) -> Iterator[AnyEvent]:
        for event in good(row):
            is_adapter = isinstance(event, AdapterSaved)
            yield msgspec.structs.replace(event, step=6, reason="stopped by request after step 6 of 9") if is_adapter else event

    _, out, _ = call(FakeDaemon(stopped), "run", "toy")
    assert "          the weights of step 6: stopped by request after step 6 of 9\n" in out
    _, out, _ = call(FakeDaemon(good), "run", "toy")
    assert "the weights of step" not in out


def test_a_comparison_of_many_measures_shows_its_claims_and_its_quality() -> None:
    def claimed(row: JobRow) -> Iterator[AnyEvent]:
        for event in good(row):
            if isinstance(event, ComparisonSaved):
                look = msgspec.structs.replace(event.effects[0], metric="contrast", better="neither", verdict="different")
                claim = Claim(name="sharpness", statement="sharper", verdict="only contrast", against_baseline=look)
                event = msgspec.structs.replace(event, claims=(claim,), effects=(*event.effects, look))
            yield event

    _, out, _ = call(FakeDaemon(claimed), "run", "toy")
    assert "only contrast" in out
    assert "  flaw_probability  target - baseline" in out
    assert "  contrast " not in out
    assert "All 2 differences: negtui results toy --comparison default --all" in out
