"""The dashboard from the command line, in a real pseudo-terminal, on a daemon that is not there."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon.protocol.errors import NegError
from negtui.commands.dashboard import connect_as, theme_for
from negtui.config import Settings
from tests.fake_daemon import FakeDaemon, call


def in_terminal(*arguments: str, keys: list[tuple[str, bytes]], seconds: float = 60.0, **environment: str) -> tuple[int, str]:
    """`negtui ARGUMENTS` in a terminal of its own; each key is pressed once its words were seen. (exit code, all that was written)"""
    master, slave = pty.openpty()
    names = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "negtui.cli", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**names, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(slave)
    seen, until, waiting = b"", time.monotonic() + seconds, list(keys)
    while time.monotonic() < until:
        if select.select([master], [], [], 0.1)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break
        elif process.poll() is not None:
            break
        while waiting and waiting[0][0].encode() in seen:
            os.write(master, waiting.pop(0)[1])
    process.kill()
    code = process.wait()
    os.close(master)
    return code, seen.decode(errors="replace")


def test_on_a_terminal_it_opens_says_what_is_wrong_and_leaves_by_key(tmp_path: Path) -> None:
    code, seen = in_terminal("--connect", f"ipc://{tmp_path}/ctl", "--images", "off", keys=[("NO CONNECTION", b"q")])
    assert code == 0
    assert "[1 Sessions]" in seen
    assert "no daemon was reached" in seen


def test_without_colours_it_sends_none(tmp_path: Path) -> None:
    arguments = ("--connect", f"ipc://{tmp_path}/ctl", "--images", "off", "--ascii")
    code, seen = in_terminal(*arguments, keys=[("NO CONNECTION", b"q")], NO_COLOR="1")
    assert code == 0
    screen = seen.partition("\x1b[?1049h")[2].partition("\x1b[?1049l")[0]
    assert "[1 Sessions]" in screen
    assert screen.isascii()


def test_through_a_pipe_it_stays_the_overview() -> None:
    code, out, _ = call(FakeDaemon())
    assert code == 0
    assert "usage: negtui" in out


@pytest.mark.parametrize(
    ("colours", "told", "theme"),
    [("16", "", "ansi-dark"), ("16", "0;15", "ansi-light"), ("truecolor", "0;15", "textual-light"), ("256", "15;0", ""), ("256", "", "")],
)
def test_the_theme_suits_the_terminal(colours: str, told: str, theme: str) -> None:
    assert theme_for(colours, told) == theme


def test_a_bad_endpoint_is_refused_in_words() -> None:
    async def connect() -> None:
        async with connect_as(Settings(connect="tcp://host"))(lambda connected, reason: None, True):
            raise AssertionError

    with pytest.raises(NegError, match="is not an endpoint"):
        asyncio.run(connect())


def test_nothing_of_textual_is_loaded_for_other_commands() -> None:
    code = (
        "import sys; from negtui import cli; cli.build_parser().format_help(); print([n for n in sys.modules if n.startswith('textual')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
