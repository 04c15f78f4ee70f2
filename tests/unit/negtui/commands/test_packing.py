from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from daemon.protocol.commands import AnyCommand, AnyResult, FileRow, Files, ImportSession, ListFiles, SessionAnswer
from tests.fake_daemon import SPEC, FakeDaemon, call


class Packable(FakeDaemon):
    async def request(self, command: AnyCommand) -> AnyResult:
        self.asked.append(command)
        if isinstance(command, ListFiles):
            return Files(files=(FileRow(path="session.toml", size=2),), num_links=2, is_last=True)
        if isinstance(command, ImportSession):
            return SessionAnswer(name=command.new_name or "mine", path="/w/sessions/mine", spec=SPEC, warnings=("Its model is not here.",))
        return await super().request(command)

    async def fetch(self, session: str, path: str) -> bytes:
        return b"hi"


def test_export_writes_here_and_says_what_stayed_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = Packable()
    code, out, err = call(daemon, "export", "mine", "--checkpoints")
    assert code == 0
    assert daemon.asked == [ListFiles(name="mine", also=("checkpoints",))]
    assert "mine.negtui.zip" in out
    assert "2 links stayed behind" in err
    with zipfile.ZipFile(tmp_path / "mine.negtui.zip") as archive:
        assert archive.read("mine/session.toml") == b"hi"
    assert call(daemon, "export", "mine")[0] == 2
    (tmp_path / "folder").mkdir()
    code, out, _ = call(daemon, "--json", "export", "mine", "folder")
    assert json.loads(out)["path"] == "folder/mine.negtui.zip"


def test_import_names_the_file_as_its_daemon_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = Packable()
    code, out, err = call(daemon, "import", "mine.negtui.zip", "--name", "second")
    assert code == 0
    assert daemon.asked == [ImportSession(path=str(tmp_path / "mine.negtui.zip"), new_name="second")]
    assert "every file is the one that was packed" in out
    assert "Its model is not here." in err
    call(daemon, "--connect", "ssh://host", "import", "/there/mine.negtui.zip")
    assert daemon.asked[-1] == ImportSession(path="/there/mine.negtui.zip")
    assert call(daemon, "import", "x.zip", "--name", "../out")[0] == 2
