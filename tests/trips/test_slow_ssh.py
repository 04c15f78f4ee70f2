"""The dashboard through a real sshd over 2 Mbit/s and 150 ms: the right backend, no answer read as a key, keys live among pictures."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from contextlib import closing
from typing import Any

import pytest

from negtui.pixels.kitty import PIECE
from negtui.pixels.writer import WINDOW_BYTES
from tests.gallery import hang
from tests.own_sshd import BESIDE, SSHD, Sshd
from tests.pty_terminal import NEGTUI, PtyTerminal
from tests.slow_link import BUFFER_BYTES, SlowLink
from tests.trips.test_ssh import sshd, tunnel_pids  # noqa: F401

BITS_PER_SECOND = 2e6
ROUND_TRIP_SECONDS = 0.15
SLOWER = 4e5
"""Bits a second where a picture must still be under way when a key has been painted, however busy this machine is."""
ON_THE_WAY = BITS_PER_SECOND / 8 * ROUND_TRIP_SECONDS + 2 * BUFFER_BYTES

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="no ssh or sshd here: apt-get install openssh-server"),
]


def remote(front: Any, server: Sshd, port: int) -> list[str]:
    """`ssh -t` to the dashboard; what ssh does not hand on (COLORTERM, the test's settings) is not there either."""
    own = {name: front.environment[name] for name in ("NEGTUI_RUNTIME", "PYTHONPATH")}
    words = ["env", *(f"{name}={value}" for name, value in own.items()), *NEGTUI, "--workspace", str(front.places.workspace)]
    return ["ssh", "-t", "-F", str(server.config_path), *BESIDE, "-p", str(port), "127.0.0.1", shlex.join(words)]


def num_begun(terminal: PtyTerminal) -> int:
    return bytes(terminal.received).count(b"a=t,")


def arrived(terminal: PtyTerminal) -> bool:
    """Whether every picture that was begun is whole."""
    with terminal.lock:
        return terminal.window._loading is None


@pytest.mark.parametrize(("kind", "backend"), [("kitty", "kitty"), ("xterm", "sixel"), ("plain", "half")])
def test_the_right_backend_and_no_answer_read_as_a_key(front: Any, sshd: Sshd, kind: str, backend: str) -> None:  # noqa: F811
    hang(front.places.sessions_path / "fake", 2)
    link = SlowLink(sshd.port, bits_per_second=BITS_PER_SECOND, round_trip_seconds=ROUND_TRIP_SECONDS)
    with link.open() as port, closing(PtyTerminal(remote(front, sshd, port), kind=kind)) as terminal:
        terminal.wait_for("connected")
        terminal.wait_until_still()
        assert f"pictures {backend}" in terminal.text
        # A leaked answer ends in c, t or S, or in letters of a version: forms would stand open, another session be chosen.
        assert "[1 Sessions]" in terminal.text
        assert not any(words in terminal.text for words in ("Copy the session", "Settings of", "New session", "y: yes", "queued"))
        terminal.press("q")
        terminal.wait_for("The daemon and its jobs go on")


def test_a_key_is_painted_among_the_bytes_of_a_picture(front: Any, sshd: Sshd) -> None:  # noqa: F811
    hang(front.places.sessions_path / "fake", 2, side=1024, roughness=1.2)
    link = SlowLink(sshd.port, bits_per_second=SLOWER, round_trip_seconds=ROUND_TRIP_SECONDS)
    with link.open() as port, closing(PtyTerminal(remote(front, sshd, port), columns=160, rows=50)) as terminal:
        terminal.wait_for("connected")
        terminal.press("2")
        terminal.wait_for("2 pictures", 90)
        terminal.wait_for(lambda: num_begun(terminal) == 2 and arrived(terminal), 90)
        terminal.press("f")
        before = terminal.window.num_bytes
        terminal.wait_for(lambda: num_begun(terminal) == 3 and not arrived(terminal), 90)
        pressed = terminal.window.num_bytes
        terminal.press("5")
        terminal.wait_for("[5 Jobs]")
        painted = terminal.window.num_bytes
        assert not arrived(terminal), "the picture was through before the key: it proves nothing"
        assert painted - pressed <= WINDOW_BYTES + PIECE + ON_THE_WAY
        terminal.wait_for(lambda: arrived(terminal), 90)
        assert terminal.window.num_bytes - before > 3 * WINDOW_BYTES


def test_jobs_of_a_daemon_behind_ssh_are_given_and_followed(front: Any, sshd: Sshd) -> None:  # noqa: F811
    """The dashboard here, the daemon there, by `--connect`; the tunnel is cut while the job is at work."""
    step = {"num_images": 6, "step_seconds": 2.0}
    text = f'[model]\nbase = "toy"\n[synthesis]\nkeywords = ["fake"]\nnegative_prompt = {json.dumps(json.dumps(step))}\n'
    (front.places.sessions_path / "fake/session.toml").write_text(text)
    with closing(PtyTerminal([*NEGTUI, "--connect", f"{sshd.url}{front.places.workspace}"])) as terminal:
        terminal.wait_for("connected", 60)
        terminal.press("2")
        terminal.wait_for("no pictures yet")
        terminal.press("r")
        terminal.wait_for("y: yes")
        terminal.press("y", "5")
        terminal.wait_for(">> running")
        for pid in tunnel_pids(sshd.folder):
            os.kill(pid, signal.SIGKILL)
        terminal.wait_for("ok done", 90)
        terminal.wait_for("connected")
        terminal.press("f5")
        terminal.wait_for("The daemon runs.")
