from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from negtui.cli import build_parser
from negtui.commands.man import commands, escaped, page
from tests.fake_daemon import FakeDaemon, call


def test_every_command_and_each_of_its_options_is_in_it() -> None:
    code, text, _ = call(FakeDaemon(), "man")
    assert code == 0
    lines = text.splitlines()
    told = list(commands(build_parser()))
    assert {"run", "serve", "man", "daemon stop", "config validate"} <= {name for name, _, _ in told}
    for name, words, parser in told:
        assert any(line.startswith(f".SS {escaped(f'negtui {name}')}") for line in lines), name
        assert words, f"{name} has no words"
        for action in parser._actions:
            for option in action.option_strings if action.help != "==SUPPRESS==" else ():
                assert escaped(option) in text, f"{name} {option}"


def test_exit_codes_environment_and_files_are_told() -> None:
    text = "\n".join(page())
    for words in ("exit codes:", "NEGTUI_WORKSPACE", ".SH FILES", "config.toml"):
        assert words in text


def test_the_page_that_is_installed_is_this_one(repository: Path) -> None:
    assert (repository / "docs/negtui.1").read_text() == call(FakeDaemon(), "man")[1], "negtui man > docs/negtui.1"
    wheel = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["shared-data"] == {"docs/negtui.1": "share/man/man1/negtui.1"}


def test_json_holds_the_page() -> None:
    assert json.loads(call(FakeDaemon(), "--json", "man")[1])["roff"].startswith(".TH NEGTUI 1")


def test_what_roff_would_take_for_its_own_is_escaped() -> None:
    assert escaped(".TH a-b\\c") == "\\&.TH a\\-b\\ec"
    assert escaped("'quoted'") == "\\&'quoted'"


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_finds_nothing_wrong() -> None:
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww", "-z"], input="\n".join(page()), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
