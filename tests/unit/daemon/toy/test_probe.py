"""The probe: reads what is drawn, says what agrees, and does not depend on its batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from daemon.toy.probe import Probe, ProbeNet, Reading, save_probe
from daemon.toy.scenes import caption, draw, random_scene

READING = Reading("square", "red", 2, "white", 0.1)


def test_agreement_is_attribute_by_attribute() -> None:
    assert READING.agreement("two red circles on a white background") == {
        "shape": False,
        "colour": True,
        "count": True,
        "background": True,
    }
    assert READING.agrees("a picture of two red squares")
    assert not READING.agrees("two red squares on a navy background")


def test_what_a_prompt_leaves_open_agrees() -> None:
    assert READING.agreement("blurry, grainy") == {}
    assert READING.agreement("squares") == {"shape": True}


def test_a_saved_probe_reads_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ProbeNet()
    save_probe(net, {"shape_accuracy": 0.2}, tmp_path)
    images = [draw(random_scene(np.random.default_rng(seed))) for seed in range(3)]
    first, second = Probe(net).read(images), Probe.load(tmp_path).read(images)
    assert [r.flaw_probability for r in first] == pytest.approx([r.flaw_probability for r in second], abs=0.02)


def test_pictures_of_any_size_and_mode_are_read() -> None:
    assert len(Probe(ProbeNet()).read([Image.new("L", (100, 50)), Image.new("RGBA", (64, 64))])) == 2
    assert Probe(ProbeNet()).read([]) == []


def test_the_shipped_probe_reads_drawn_scenes() -> None:
    scenes = [random_scene(np.random.default_rng(seed)) for seed in range(64)]
    readings = Probe.load().read([draw(scene) for scene in scenes])
    right = [reading.agrees(caption(scene)) for reading, scene in zip(readings, scenes, strict=True)]
    assert sum(right) >= 58
    assert np.mean([reading.flaw_probability for reading in readings]) < 0.15


def test_the_shipped_probe_reads_the_same_in_any_batch() -> None:
    images = [draw(random_scene(np.random.default_rng(seed))) for seed in range(3)]
    probe = Probe.load()
    for together, image in zip(probe.read(images), images, strict=True):
        alone = probe.read([image])[0]
        assert (together.shape, together.colour, together.count) == (alone.shape, alone.colour, alone.count)
        assert together.flaw_probability == pytest.approx(alone.flaw_probability, abs=1e-5)
