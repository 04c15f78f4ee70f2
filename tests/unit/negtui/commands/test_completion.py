from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from negtui.commands.completion import SCRIPTS, completions
from tests.fake_daemon import FakeDaemon, call


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["sy"], ["synthesise", "synthesize"]),
        (["daemon", "st"], ["start", "status", "stop"]),
        (["--images", "k"], ["kitty"]),
        (["config", ""], ["path", "show", "validate"]),
        (["new", "--dt"], ["--dtype"]),
        (["new", "--dtype", "float"], ["float16", "float32"]),
        (["nothing-like-it", "zz"], []),
    ],
)
def test_words_complete_to_commands_options_and_choices(words: list[str], wanted: list[str]) -> None:
    assert completions(words) == wanted


def test_sessions_are_read_off_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_WORKSPACE", str(tmp_path))
    assert completions(["train", "min"]) == []
    for name in ("mine", "other"):
        (tmp_path / "sessions" / name).mkdir(parents=True)
        (tmp_path / "sessions" / name / "session.toml").write_text("")
    assert completions(["train", "min"]) == ["mine"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_printed_and_ask_for_words(shell: str) -> None:
    code, out, _ = call(FakeDaemon(), "completion", shell)
    assert code == 0
    assert "negtui completion words --" in out


def test_words_are_answered_line_by_line() -> None:
    code, out, _ = call(FakeDaemon(), "completion", "words", "--", "daemon", "sta")
    assert (code, out) == (0, "start\nstatus\n")
    code, out, _ = call(FakeDaemon(), "completion", "words", "--", "new", "--dt")
    assert (code, out) == (0, "--dtype\n")
    code, out, _ = call(FakeDaemon(), "completion", "words", "--", "daemon", "stop", "--")
    assert code == 0
    assert {"--json", "--help"} <= set(out.split())
    assert all(word.startswith("--") for word in out.split())


def test_bash_takes_the_script() -> None:
    done = subprocess.run(["bash", "-n"], input=SCRIPTS["bash"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
