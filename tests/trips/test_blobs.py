"""Files of sessions over the blob socket: whole, verified, and nothing else."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.commands import GetBlob, Ping
from daemon.protocol.errors import NegError
from negtui.client import Client


def fetch(front: Any, path: str, session: str = "fake") -> bytes:
    async def trip() -> bytes:
        async with Client.connect(front.endpoints) as client:
            return await client.fetch(session, path, seconds=20)

    return asyncio.run(trip())


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 5_000_001])
def test_a_file_comes_whole(front: Any, size: int) -> None:
    content = random.Random(size).randbytes(size)
    folder = front.places.sessions_path / "fake" / "adapters" / "wrong"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(content)
    assert fetch(front, "adapters/wrong/weights.safetensors") == content


def test_a_daemon_that_restarts_midway_costs_nothing(front: Any) -> None:
    content = random.Random(1).randbytes(60 * 2**20)
    (front.places.sessions_path / "fake" / "big").write_bytes(content)

    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            fetching = asyncio.create_task(client.fetch("fake", "big", seconds=60))
            await asyncio.sleep(0.1)
            front.kill()
            await asyncio.to_thread(front.start)
            assert await fetching == content

    asyncio.run(trip())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../../secret", "invalid"),
        ("..", "invalid"),
        ("dataset/../../fake-sibling/x", "invalid"),
        ("/etc/passwd", "invalid"),
        ("link", "invalid"),
        ("folder-link/passwd", "invalid"),
        ("fifo", "invalid"),
        ("dataset", "invalid"),
        ("a\0b", "invalid"),
        ("./session.toml", "invalid"),
        ("no-such-file", "not_found"),
    ],
)
def test_what_is_not_a_plain_file_of_the_session_is_refused(front: Any, path: str, code: str) -> None:
    folder = front.places.sessions_path / "fake"
    (front.places.workspace / "secret").write_text("secret")
    (folder / "dataset").mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "folder-link").symlink_to("/etc")
    os.mkfifo(folder / "fifo")
    with pytest.raises(NegError) as refused:
        fetch(front, path)
    assert refused.value.detail.code == code


def test_no_such_session(front: Any) -> None:
    with pytest.raises(NegError) as refused:
        fetch(front, "session.toml", session="other")
    assert refused.value.detail.code == "not_found"


def test_each_socket_serves_its_own_commands(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            for line, command in ((client._ctl, GetBlob(session="fake", path="session.toml")), (client._blob, Ping())):
                result, _ = await line.ask(command, 10)
                assert result.error.code == "unknown_type"

    asyncio.run(trip())


def test_a_file_replaced_while_it_is_read_is_read_again(front: Any) -> None:
    path = Path(front.places.sessions_path / "fake" / "changing")
    path.write_bytes(b"a" * 3_000_000)

    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            ask = client._blob.ask

            async def replace_then_ask(command: GetBlob, seconds: float) -> Any:
                if command.offset == 1_048_576 and path.read_bytes()[:1] == b"a":
                    path.write_bytes(b"b" * 2_000_000)
                return await ask(command, seconds)

            client._blob.ask = replace_then_ask  # type: ignore[method-assign, assignment]
            assert await client.fetch("fake", "changing") == b"b" * 2_000_000

    asyncio.run(trip())
