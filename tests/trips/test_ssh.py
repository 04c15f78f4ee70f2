"""`--connect ssh://...` against a real sshd on the loopback, run by and for the current user."""

import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.commands import Submit
from daemon.protocol.errors import NegError
from daemon.protocol.events import ImageSaved, JobStateChanged
from negtui.client import Client
from tests.fake_recipes import job
from tests.own_sshd import SSHD, Sshd, free_port, serving

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd here: install openssh-server to run the remote trip")


@pytest.fixture
def sshd(tmp_path: Path, front: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A server with a key of its own, and a client configuration that knows it."""
    environment = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in front.environment.items() if name in ("NEGTUI_RUNTIME", "PYTHONPATH")
    )
    monkeypatch.setenv("NEGTUI_SSH_OPTIONS", f"-F {tmp_path / 'ssh_config'}")
    monkeypatch.setenv("NEGTUI_REMOTE_NEGD", f"env {environment} {sys.executable} -m daemon.front.serve")
    with serving(tmp_path) as server:
        yield server


def tunnel_pids(folder: Path) -> list[int]:
    """The `ssh -N` processes that use this test's configuration."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[0] == b"ssh" and str(folder / "ssh_config").encode() in words and b"-N" in words:
                found.append(int(path.parent.name))
    return found


def test_a_remote_daemon_is_used_like_a_local_one(front: Any, sshd: Sshd) -> None:
    content = os.urandom(3_000_000)
    (front.places.sessions_path / "fake" / "big").write_bytes(content)

    async def trip() -> None:
        async with Client.connect(f"{sshd.url}{front.places.workspace}") as client:
            assert client.welcome is not None
            assert client.welcome.pid == front.process.pid
            events = client.events(client.welcome.head_seq)
            await client.request(Submit(key="key-00001", spec=job()))
            async with asyncio.timeout(60):
                async for _, event in events:
                    if isinstance(event, JobStateChanged) and event.job.state == "done":
                        break
            assert await client.fetch("fake", "big") == content

    asyncio.run(trip())
    assert tunnel_pids(sshd.folder) == []


def test_a_tunnel_that_dies_is_made_again(front: Any, sshd: Sshd) -> None:
    async def trip() -> None:
        async with Client.connect(f"{sshd.url}{front.places.workspace}") as client:
            assert client.welcome is not None
            since = client.welcome.head_seq
            seqs, killed, images = [], 0, 0
            await client.request(Submit(key="key-00001", spec=job(num_images=40, step_seconds=0.03)))
            async with asyncio.timeout(120):
                async for seq, event in client.events(since):
                    if seq:
                        seqs.append(seq)
                    images += isinstance(event, ImageSaved)
                    if killed < 3 and images >= 10 * (killed + 1):
                        killed += 1
                        for pid in tunnel_pids(sshd.folder):
                            os.kill(pid, 9)
                    if isinstance(event, JobStateChanged) and event.job.state == "done":
                        break
            assert (killed, images, client.num_holes) == (3, 40, 0)
            assert seqs == list(range(since + 1, since + 1 + len(seqs)))

    asyncio.run(trip())


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("no daemon", "No daemon runs on"),
        ("no negd", "There is no negd on"),
        ("no server", "Connection refused"),
        ("unknown host", "Could not resolve"),
        ("unknown key", "Host key verification failed"),
        ("wrong user key", "Permission denied"),
    ],
)
def test_what_is_wrong_is_said_in_words(front: Any, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, trouble: str, words: str) -> None:
    url = f"{sshd.url}{front.places.workspace}"
    match trouble:
        case "no daemon":
            front.stop()
        case "no negd":
            monkeypatch.setenv("NEGTUI_REMOTE_NEGD", "/nowhere/negd")
        case "no server":
            url = f"ssh://127.0.0.1:{free_port()}"
        case "unknown host":
            url = "ssh://no-such-host.invalid"
        case "unknown key":
            (sshd.folder / "known").write_text("")
        case "wrong user key":
            (sshd.folder / "authorized").write_text("")

    async def trip() -> None:
        async with Client.connect(url):
            pytest.fail("this must not connect")

    with pytest.raises(NegError, match=words) as refused:
        asyncio.run(trip())
    assert refused.value.detail.hint
