"""`negtui completion SHELL` in the real shells: what a person gets who presses tab."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.pty_terminal import NEGTUI, PtyTerminal

PROMPT = "ready>"
START = {
    "bash": (".bashrc", f"PS1='{PROMPT} '; bind 'set show-all-if-ambiguous on'; eval \"$(negtui completion bash)\""),
    "zsh": (".zshrc", f"PS1='{PROMPT} '; autoload -Uz compinit; compinit -u; eval \"$(negtui completion zsh)\""),
    "fish": (".config/fish/config.fish", f"function fish_prompt; echo -n '{PROMPT} '; end; set -g fish_greeting"),
}
LINES = (
    ("negtui daemon st", ("start", "status", "stop")),
    ("negtui train mi", ("negtui train mine",)),
    ("negtui new other --template toy --", ("--skip-checks", "--model")),
    ("negtui import mine.neg", ("mine.negtui.zip",)),
)
"""What is typed before tab, and what then stands on the screen."""


@pytest.mark.parametrize("shell", START)
def test_tab_completes_commands_options_sessions_and_files(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: install it to try its completion")
    program, workspace = tmp_path / "bin/negtui", tmp_path / "w"
    (workspace / "sessions/mine").mkdir(parents=True)
    (workspace / "sessions/mine/session.toml").touch()
    (tmp_path / "mine.negtui.zip").touch()
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(NEGTUI)} "$@"\n')
    program.chmod(0o755)
    name, text = START[shell]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(f"cd {shlex.quote(str(tmp_path))}\n{text}\n")
    if shell == "fish":
        script = subprocess.run([*NEGTUI, "completion", "fish"], check=True, capture_output=True)
        (tmp_path / ".config/fish/completions").mkdir()
        (tmp_path / ".config/fish/completions/negtui.fish").write_bytes(script.stdout)
    environment = {
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "PATH": f"{program.parent}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "NEGTUI_WORKSPACE": str(workspace),
    }
    with closing(PtyTerminal([shell, "-i"], environment, kind="plain", columns=120, rows=40)) as terminal:
        for typed, wanted in LINES:
            terminal.wait_for(PROMPT)
            terminal.press(typed, "tab")
            terminal.wait_for(lambda wanted=wanted: all(word in terminal.text for word in wanted))
            terminal.press("ctrl+u", "ctrl+l")
            terminal.wait_for(typed, gone=True)
