"""Training the probe: on pictures that went through the VAE, measured on others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.toy import train_probe as module
from daemon.toy.loop import Plan, Rank
from daemon.toy.probe import Probe
from daemon.toy.scenes import Scene, draw


def test_the_probe_trains_and_is_measured(toy_work_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUM_HELD_OUT", 4)
    for name in ("pictures.npy", "captions.json", "vae-final.safetensors", "latents-0-of-1.safetensors"):
        (tmp_path / name).symlink_to(toy_work_path / name)
    module.train_probe(Plan("probe", 2, 1e-3, tail_steps=1), 12, 4, Rank(), tmp_path)
    facts = module.export_probe(tmp_path, 12, tmp_path / "probe")
    assert 0 <= float(str(facts["shape_accuracy"])) <= 1
    assert json.loads((tmp_path / "probe/probe.json").read_text("utf-8"))["held_out_pictures"] == 4
    assert len(Probe.load(tmp_path / "probe").read([draw(Scene("star", "red", 1, "large", "white"))])) == 1
