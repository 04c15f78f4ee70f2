from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from daemon.protocol.commands import (
    AnyCommand,
    ChangeSession,
    CreateSession,
    DeleteSession,
    DuplicateSession,
    SessionAnswer,
    SessionDeleted,
)
from tests.fake_daemon import SPEC, FakeDaemon, Terminal, call


def test_new_passes_models_and_settings_as_toml() -> None:
    daemon = FakeDaemon()
    daemon.warnings = ("There is no \x1b[31mrefiner.",)
    code, out, err = call(
        daemon,
        *["new", "mine", "--model", "some/hub-id", "--refiner", "none", "--vae", 'v"x', "--dtype", "float16", "--allow-download"],
        *["--set", "training.rank=8", "--set", "training.lr_scheduler=cosine", "--set", "synthesis.seeds=[1, 2]"],
    )
    assert code == 0
    assert daemon.asked == [
        CreateSession(
            name="mine",
            template="wrong",
            changes={
                "model.base": '"some/hub-id"',
                "model.refiner": "none",
                "model.vae": '"v\\"x"',
                "model.torch_dtype": '"float16"',
                "model.allow_download": "true",
                "training.rank": "8",
                "training.lr_scheduler": '"cosine"',
                "synthesis.seeds": "[1, 2]",
            },
        )
    ]
    assert err == "warning: There is no refiner.\n"
    assert "negtui run mine" in out


def test_new_makes_model_paths_absolute_unless_the_daemon_is_elsewhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    for connect, expected in (([], f'"{tmp_path}/x.safetensors"'), (["--connect", "ssh://h"], '"./x.safetensors"')):
        daemon = FakeDaemon()
        call(daemon, *connect, "new", "mine", "--model", "./x.safetensors")
        assert isinstance(daemon.asked[0], CreateSession)
        assert daemon.asked[0].changes["model.base"] == expected


def test_a_bad_set_is_refused_before_anything_is_asked() -> None:
    daemon = FakeDaemon()
    code, _, err = call(daemon, "new", "mine", "--set", "training.rank")
    assert (code, daemon.asked) == (2, [])
    assert "section.field=value" in err


def test_tables_hold_no_escapes_from_outside() -> None:
    _, out, _ = call(FakeDaemon(), "sessions")
    assert "\x1b" not in out
    assert "red" in out


class Editing(FakeDaemon):
    """A daemon whose sessions can be changed."""

    async def request(self, command: AnyCommand) -> Any:
        if isinstance(command, (ChangeSession, DuplicateSession)):
            self.asked.append(command)
            return SessionAnswer(name=command.name, path="/w/sessions/x", spec=SPEC, warnings=("Careful.",))
        if isinstance(command, DeleteSession):
            self.asked.append(command)
            return SessionDeleted(name=command.name, num_bytes=3 * 2**20)
        return await super().request(command)


def test_settings_are_set_as_new_sets_them() -> None:
    daemon = Editing()
    code, out, err = call(daemon, "set", "mine", "training.rank=8", "training.lr_scheduler=cosine", "model.refiner=none")
    assert (code, err) == (0, "warning: Careful.\n")
    changes = {"training.rank": "8", "training.lr_scheduler": '"cosine"', "model.refiner": "none"}
    assert daemon.asked == [ChangeSession(name="mine", changes=changes)]
    assert "/w/sessions/x is changed" in out
    assert call(Editing(), "set", "mine", "training.rank")[0] == 2


def test_a_copy_is_made() -> None:
    daemon = Editing()
    assert call(daemon, "duplicate", "mine", "second", "--settings-only")[0] == 0
    assert daemon.asked == [DuplicateSession(name="mine", new_name="second", settings_only=True)]
    assert call(daemon, "duplicate", "mine", "../out")[0] == 2


def test_deleting_needs_the_name_typed_by_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Editing()
    monkeypatch.setattr(sys, "stdin", io.StringIO("mine\n"))
    code, _, err = call(daemon, "delete", "mine")
    assert (code, daemon.asked) == (2, [])
    assert "--typed mine" in err
    monkeypatch.setattr(sys, "stdin", Terminal("min\n"))
    call(daemon, "delete", "mine")
    code, out, _ = call(daemon, "delete", "mine", "--typed", "mine")
    assert daemon.asked == [DeleteSession(name="mine", typed="min"), DeleteSession(name="mine", typed="mine")]
    assert (code, out) == (0, "Deleted mine: 3.0 MiB are free again.\n")
