from __future__ import annotations

import re
import subprocess
import sys

import pytest

from negtui import cli

COMMANDS = ["new", "sessions", "check", "run", "synthesise", "train", "compare", "follow"]
COMMANDS += ["jobs", "logs", "cancel", "pause", "resume", "prioritise", "sample", "checkpoint", "keep", "lr", "status", "daemon"]


def test_help_lists_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command}\b", text, re.MULTILINE), command
    for code in range(6):
        assert re.search(rf"^  {code}  \S", text, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom negtui.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('zmq', 'msgspec', 'rich', 'textual', 'asyncio', 'numpy', 'torch') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("argv", [["nonsense"], ["new"], ["prioritise", "x", "high"], ["daemon"], ["--nonsense"], ["logs"], ["lr", "x"]])
def test_wrong_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage: negtui" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "-0.5", "fast", "nan", "inf", ""])
def test_a_learning_rate_that_is_no_number_above_zero_is_wrong_usage(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["lr", "x", rate])
    assert caught.value.code == 2
    assert "is no number above 0, e.g. 5e-5" in capsys.readouterr().err
