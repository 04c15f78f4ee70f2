from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.protocol.commands import Welcome
from daemon.protocol.errors import NegError
from daemon.protocol.events import Gauges
from negtui.commands import doctor
from negtui.commands.doctor import sample_picture, terminal_checks
from negtui.commands.invocation import Unreachable
from negtui.pixels.base import CellSize, Choice
from negtui.pixels.probe import Answers
from tests.fake_daemon import FakeDaemon, call

KITTY = Answers(kitty=True, cell=CellSize(9, 18), version="kitty(0.41.1)", answered=True, seconds={"da1": 0.151, "kitty": 0.15})


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TMUX", "NEGTUI_IMAGES", "STY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NEGTUI_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setattr(doctor, "GAUGE_SECONDS", 0.2)


def test_without_a_daemon_it_is_well_and_starts_none() -> None:
    daemon = FakeDaemon()
    daemon.refusal = Unreachable("No daemon runs for /w.", "negtui daemon start starts one.")
    code, out, _ = call(daemon, "doctor")
    assert code == 0
    assert daemon.started is False
    for words in ("No daemon runs for /w.", "textual", "pillow", "GB free", "config.toml", "Nothing is wrong."):
        assert words in out


def test_a_daemon_tells_its_versions_and_its_gpus() -> None:
    daemon = FakeDaemon()
    gauges = Gauges(device="cuda:0", memory_used=2**31, memory_total=2**33, utilisation=40.0, temperature=61.0)
    daemon.pending = [gauges, Gauges(device="none"), gauges]
    code, out, _ = call(daemon, "doctor")
    assert code == 0
    assert "protocol 1 (this client: 1), pid 7" in out
    assert "worker ready" in out
    assert "cuda:0: 2.0 of 8.0 GiB, 40 %, 61 °C, n/a W" in out


def test_no_driver_and_no_readings_are_said() -> None:
    daemon = FakeDaemon()
    daemon.pending = [Gauges(device="none"), Gauges(device="none")]
    assert "no NVIDIA driver" in call(daemon, "doctor")[1]
    assert "told no readings" in call(FakeDaemon(), "doctor")[1]


def test_what_is_wrong_is_marked_and_gives_1(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon()
    daemon.refusal = NegError("incompatible", "The daemon's greeting is not understood.", "Use the same negtui version on both sides.")
    code, out, _ = call(daemon, "doctor")
    assert code == 1
    assert "!! daemon" in out
    assert "Something is wrong" in out
    monkeypatch.setattr(doctor, "NO_ROOM", 10**18)
    code, out, _ = call(FakeDaemon(), "doctor", "--json")
    assert code == 1
    assert json.loads(out)["ok"] is False


def test_another_protocol_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer(FakeDaemon):
        @property
        def welcome(self) -> Welcome:
            return Welcome(protocol=2, version="9", store_id="s", boot_id="b", head_seq=0, min_seq=1, sessions_path="/w", pid=7)

    code, out, _ = call(Newer(), "doctor")
    assert code == 1
    assert "Use the same negtui version" in out


def test_json_has_everything() -> None:
    code, out, _ = call(FakeDaemon(), "--json", "doctor")
    found = json.loads(out)
    assert code == 0
    assert found["ok"] is True
    assert found["versions"]["negtui"]
    assert set(found["paths"]) == {"workspace", "sessions", "state", "log", "sockets", "config"}
    assert found["terminal"]["choice"]["backend"] == "half"
    assert found["terminal"]["choice"]["why"]
    assert found["tmux_lines"]
    assert found["free_bytes"] > 0
    assert {check["name"] for check in found["checks"]} >= {"versions", "daemon", "terminal", "probe", "pictures", "disk"}


def test_the_probes_answers_are_told_with_their_times() -> None:
    choice = Choice(backend="kitty", why="kitty(0.41.1) answered", cell=CellSize(9, 18))
    checks = {check.name: check for check in terminal_checks(choice, KITTY, {"TERM": "xterm-kitty"}, "")}
    assert checks["probe"].words == "kitty 150 ms, da1 151 ms; 9 x 18 pixels a cell; kitty yes, sixel no"
    assert checks["pictures"].words.startswith("kitty: kitty(0.41.1) answered")
    assert checks["pictures"].state == "ok"
    assert "kitty(0.41.1)" in checks["terminal"].words


def test_in_tmux_the_lines_to_add_are_told() -> None:
    choice = Choice(backend="half", in_tmux=True, over_ssh=True)
    checks = {check.name: check for check in terminal_checks(choice, replace(KITTY, kitty=False), {}, "kitty(0.41.1)\tRGB\toff")}
    assert "allow-passthrough on" in checks["pictures"].hint
    assert "in tmux over SSH" in checks["terminal"].words
    assert checks["tmux"].words == "tells kitty(0.41.1) | RGB | off"


def test_the_sample_picture_has_every_primary_colour() -> None:
    colours = {colour for _, colour in sample_picture().getcolors(100_000) or []}
    assert {(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (255, 255, 0)} <= colours
    assert os.environ["NEGTUI_WORKSPACE"]
