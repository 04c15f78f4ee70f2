from __future__ import annotations

import json
from typing import get_args

from daemon.protocol.arms import PresetName
from daemon.protocol.presets import PRESETS
from negtui import cli
from tests.fake_daemon import FakeDaemon, call


def test_the_command_line_knows_every_preset_without_importing_them() -> None:
    assert get_args(PresetName) == cli.PRESETS == tuple(PRESETS)


def test_all_presets_are_listed_with_what_they_are() -> None:
    code, out, err = call(FakeDaemon(), "presets")
    assert (code, err) == (0, "")
    assert "negative branch only" in out
    assert json.loads(call(FakeDaemon(), "presets", "--json")[1])["presets"].keys() == PRESETS.keys()


def test_of_a_session_each_tells_its_arms_or_what_is_lacking() -> None:
    code, out, _ = call(FakeDaemon(), "presets", "toy")
    assert code == 0
    assert "none-zeros, none-empty" in out
    assert "The preset 'subject' needs a second adapter" in out
    found = json.loads(call(FakeDaemon(), "presets", "toy", "--json")[1])["presets"]
    assert [arm["name"] for arm in found["three"]["arms"]] == ["baseline", "placebo", "target"]
    assert (found["subject"]["arms"], found["three"]["lacks"]) == ([], "")
