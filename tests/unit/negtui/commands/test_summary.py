from __future__ import annotations

import json

import pytest

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
