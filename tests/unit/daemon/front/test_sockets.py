import asyncio
import socket
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import zmq

from daemon.front.sockets import RouterSocket, is_listening


class Bench:
    """A `RouterSocket` that keeps what it receives, and a client."""

    def __init__(self, folder: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clients: list[zmq.Socket[bytes]] = []
        self.got: list[tuple[bytes, list[bytes] | None]] = []
        self.router = RouterSocket(self.context, folder / "x", lambda peer, frames: self.got.append((peer, frames)), lambda: None)
        self.path = folder / "x"

    def client(self) -> zmq.Socket[bytes]:
        client = self.context.socket(zmq.DEALER)
        self.clients.append(client)
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.RCVHWM, 10)
        client.connect(f"ipc://{self.path}")
        return client

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.got) < count:
                await asyncio.sleep(0.005)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]:
    def play(scene: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            bench = Bench(tmp_path)
            bench.router.open()
            try:
                await scene(bench)
            finally:
                bench.router.close()
                for client in bench.clients:
                    client.close(0)
                bench.context.term()

        asyncio.run(whole())

    return play


def test_messages_come_whole_and_in_order(play: Any) -> None:
    async def scene(bench: Bench) -> None:
        client = bench.client()
        for number in range(1000):
            await asyncio.sleep(0) if number % 100 else await bench.until(max(0, number - 100))
            client.send_multipart([b"%d" % number, b"body"])
        await bench.until(1000)
        assert [frames for _, frames in bench.got] == [[b"%d" % number, b"body"] for number in range(1000)]

    play(scene)


def test_too_many_frames_are_drained_and_told(play: Any) -> None:
    async def scene(bench: Bench) -> None:
        client = bench.client()
        client.send_multipart([b"x"] * 500)
        client.send_multipart([b"y"] * 8)
        await bench.until(2)
        assert [frames for _, frames in bench.got] == [None, [b"y"] * 8]

    play(scene)


def test_an_oversized_frame_never_arrives_and_others_are_served(play: Any) -> None:
    async def scene(bench: Bench) -> None:
        bench.client().send(b"x" * 300_000)
        bench.client().send_multipart([b"y", b"z"])
        await bench.until(1)
        await asyncio.sleep(0.05)
        assert [frames for _, frames in bench.got] == [[b"y", b"z"]]

    play(scene)


def test_sending_tells_full_and_gone_and_never_waits(play: Any) -> None:
    async def scene(bench: Bench) -> None:
        client = bench.client()
        client.send_multipart([b"a", b"b"])
        await bench.until(1)
        peer = bench.got[0][0]
        assert bench.router.send(b"nobody", [b"x"]) == "gone"
        sent = 0
        while bench.router.send(peer, [b"x" * 100_000]) == "sent":
            sent += 1
            assert sent < 5000
        assert bench.router.send(peer, [b"x"]) == "full"
        client.close(0)
        async with asyncio.timeout(10):
            while bench.router.send(peer, [b"x"]) != "gone":
                await asyncio.sleep(0.01)

    play(scene)


def test_the_socket_is_private_and_is_bound_again_when_it_vanishes(play: Any) -> None:
    async def scene(bench: Bench) -> None:
        assert stat.S_IMODE(bench.path.stat().st_mode) & 0o077 == 0
        assert not bench.router.ensure_bound()
        bench.path.unlink()
        assert bench.router.ensure_bound()
        bench.client().send_multipart([b"a", b"b"])
        await bench.until(1)

    play(scene)


def test_listening_is_told_from_a_stale_file(tmp_path: Path) -> None:
    assert not is_listening(tmp_path / "x")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "x"))
        assert not is_listening(tmp_path / "x")
        server.listen()
        assert is_listening(tmp_path / "x")
    assert not is_listening(tmp_path / "x")
