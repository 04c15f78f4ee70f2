from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from daemon.protocol.errors import NegError
from negtui.config import EXAMPLE, Look, Settings, config_path, key_problems, look, read_file, settings


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


@pytest.mark.parametrize(
    "text", ["connect = 3", "conect = 'x'", "connect =", "images = 'gif'", "ascii = 1", "keys = 3", "[keys]\n'jobs.cancel' = 3"]
)
def test_a_bad_file_is_named(text: str) -> None:
    config_path().write_text(text)
    with pytest.raises(NegError, match=r"config\.toml"):
        settings()


def test_the_look_is_the_files_unless_an_option_says_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look() == Look()
    config_path().write_text('theme = "nord"\nimages = "sixel"\nread_only = true\n[keys]\n"jobs.cancel" = "ctrl+x"\n')
    assert look(ascii=True) == Look(theme="nord", images="sixel", ascii=True, read_only=True, keys={"jobs.cancel": "ctrl+x"})
    monkeypatch.setenv("NEGTUI_IMAGES", "half")
    assert look().images == "half"
    assert look(images="off").images == "off"


def test_a_keymap_is_checked_for_unknown_ids_and_keys_taken_twice() -> None:
    assert key_problems({}) == []
    assert key_problems({"jobs.cancel": "ctrl+x"}) == []
    assert "jobs.cancle" in key_problems({"jobs.cancle": "x"})[0]
    assert key_problems({"jobs.cancel": "p"}) == ["keys: p would be both jobs.pause and jobs.cancel."]


def test_the_example_sets_nothing_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(EXAMPLE)
    assert read_file(path) == {"keys": {}}
    uncommented = "\n".join(line.removeprefix("# ") for line in EXAMPLE.splitlines())
    path.write_text("\n".join(_setting(line) for line in uncommented.splitlines()))
    assert tomllib.loads(path.read_text())
    assert set(read_file(path)) == {"connect", "workspace", "theme", "images", "ascii", "read_only", "keys"}


def _setting(line: str) -> str:
    """The setting of a line of the example, without the words behind it."""
    return line.split("   ")[0]
