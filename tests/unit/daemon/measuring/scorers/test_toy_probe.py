"""The probe as a scorer, with an untrained probe: what it reads is what is scored."""

from pathlib import Path

import pytest
from painting import draw, request

from daemon.measuring.scorers.toy_probe import load_probe
from daemon.toy.probe import Probe, ProbeNet, save_probe


@pytest.fixture
def probe_path(tmp_path: Path) -> Path:
    save_probe(ProbeNet(), {}, tmp_path)
    return tmp_path


def test_scores_are_the_probe_s_readings(probe_path: Path) -> None:
    images = [draw(request(seed=seed)) for seed in range(3)]
    readings = Probe.load(probe_path).read(images)
    right = f"a {readings[0].colour} {readings[0].shape} on a {readings[0].background} background"
    right = right.replace("a ", {1: "a ", 2: "two ", 3: "three "}[readings[0].count], 1)
    wrong = f"a {'star' if readings[1].shape != 'star' else 'circle'}"
    scores = load_probe(probe_path)(images, [right, wrong, "a wolf in Yosemite"])
    assert [score["flaw_probability"] for score in scores] == pytest.approx([reading.flaw_probability for reading in readings])
    assert [score.get("adherence") for score in scores] == [1.0, 0.0, None]
