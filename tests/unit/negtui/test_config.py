from __future__ import annotations

from pathlib import Path

import pytest

from daemon.protocol.errors import NegError
from negtui.config import Settings, config_path, settings


def test_the_command_line_wins_then_the_environment_then_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings() == Settings()
    config_path().write_text('connect = "ssh://file"')
    assert settings() == Settings(connect="ssh://file")
    monkeypatch.setenv("NEGTUI_WORKSPACE", "/w")
    assert settings() == Settings()
    monkeypatch.setenv("NEGTUI_CONNECT", "ssh://environment")
    assert settings() == Settings(connect="ssh://environment")
    assert settings(workspace="/here") == Settings(workspace="/here")
    assert settings(connect="ssh://line") == Settings(connect="ssh://line")


@pytest.mark.parametrize("text", ["connect = 3", "conect = 'x'", "connect ="])
def test_a_bad_file_is_named(text: str) -> None:
    config_path().write_text(text)
    with pytest.raises(NegError, match=r"config\.toml"):
        settings()
