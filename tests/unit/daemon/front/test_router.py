"""The limits of the contract on a real ROUTER, with handlers that do nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from daemon.front.peers import Limits, Peer
from daemon.front.router import Reply, Router
from daemon.protocol import codec
from daemon.protocol.commands import Credit, Failed, Hello, ListJobs, ListSessions, Ping, Pong, Result
from daemon.protocol.errors import NegError


class Bench:
    """A router with four commands: `Ping` answers, `Hello` breaks, `ListJobs` waits for `gate`, `Credit` is not answered."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clients: list[zmq.Socket[bytes]] = []
        self.gate = asyncio.Event()
        self.left: list[Peer] = []
        self.then: list[str] = []
        table = {Ping: self.ping, Hello: self.hello, ListJobs: self.wait, Credit: self.credit}
        self.router = Router(self.context, folder / "x", table, limits, on_left=self.left.append)
        self.endpoint = f"ipc://{folder / 'x'}"

    async def ping(self, command: Ping, peer: Peer) -> Reply:
        return Reply(Pong(boot_id="me", head_seq=command.last_seq), (b"attached",), then=lambda: self.then.append("then"))

    async def hello(self, command: Hello, peer: Peer) -> Result:
        if command.client == "neg":
            raise NegError("not_found", "Not here.", "Look elsewhere.")
        raise ZeroDivisionError("a fault")

    async def wait(self, command: ListJobs, peer: Peer) -> Result:
        await self.gate.wait()
        return Pong(boot_id="waited", head_seq=0)

    async def credit(self, command: Credit, peer: Peer) -> None:
        peer.credit += command.n

    def client(self) -> zmq.Socket[bytes]:
        client = self.context.socket(zmq.DEALER)
        self.clients.append(client)
        client.setsockopt(zmq.LINGER, 0)
        client.connect(self.endpoint)
        return client


async def reply(client: zmq.Socket[bytes]) -> tuple[int, Any, list[bytes]]:
    async with asyncio.timeout(20):
        while not client.poll(0):
            await asyncio.sleep(0.005)
    head, body, *rest = client.recv_multipart()
    return codec.decode_head(head).id, codec.decode_result(body), rest


async def ask(client: zmq.Socket[bytes], command: Any, id: int = 1) -> tuple[int, Any, list[bytes]]:
    client.send_multipart(codec.encode_frames("REQ", command, id=id))
    return await reply(client)


Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def play(scene: Callable[[Bench], Coroutine[Any, Any, None]], **limits: Any) -> None:
        async def whole() -> None:
            bench = Bench(tmp_path, Limits(**limits))
            bench.router.open()
            try:
                await scene(bench)
            finally:
                await bench.router.close()
                for client in bench.clients:
                    client.close(0)
                bench.context.term()

        asyncio.run(whole())

    return play


def test_a_command_is_answered_with_its_id_and_attachments(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        assert await ask(bench.client(), Ping(last_seq=7), id=42) == (42, Pong(boot_id="me", head_seq=7), [b"attached"])
        assert bench.then == ["then"]

    play(scene)


def test_faults_are_told_apart_and_always_answered(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(bench: Bench) -> None:
        client = bench.client()
        good = codec.encode_frames("REQ", Ping(), id=9)
        for frames, code, id in [
            (codec.encode_frames("REQ", Hello(min_protocol=1, max_protocol=1, client="neg"), id=9), "not_found", 9),
            (codec.encode_frames("REQ", Hello(min_protocol=1, max_protocol=1), id=9), "internal", 9),
            (codec.encode_frames("REQ", ListSessions(), id=9), "unknown_type", 9),
            ([good[0], msgspec.msgpack.encode({"type": "Explode"})], "unknown_type", 9),
            ([good[0], b"\xc1"], "invalid", 9),
            (codec.encode_frames("REP", Ping(), id=9), "bad_frame", 9),
            ([msgspec.msgpack.encode([b"NEG", 2, "REQ", 9]), b"?"], "bad_version", 9),
            ([msgspec.msgpack.encode([b"GEN", 1, "REQ", 9]), b"?"], "bad_frame", 9),
            ([b"nonsense", b"x"], "bad_frame", 0),
            ([good[0]], "bad_frame", 9),
            ([b""], "bad_frame", 0),
            (good * 10, "bad_frame", 0),
        ]:
            client.send_multipart(frames)
            answered, result, _ = await reply(client)
            assert (answered, result.error.code) == (id, code)
        assert (await ask(client, Ping()))[1] == Pong(boot_id="me", head_seq=0)

    play(scene)
    assert "a fault" in caplog.text


def test_what_is_not_answered_is_done(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        client = bench.client()
        client.send_multipart(codec.encode_frames("REQ", Credit(n=5), id=1))
        assert (await ask(client, Ping(), id=2))[0] == 2
        assert [peer.credit for peer in bench.router.peers] == [5]

    play(scene)


def test_more_open_requests_than_allowed_are_refused_and_the_rest_answered(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        client = bench.client()
        for id in range(1, 8):
            client.send_multipart(codec.encode_frames("REQ", ListJobs(), id=id))
        refused = [await reply(client) for _ in range(3)]
        assert {(id, result.error.code) for id, result, _ in refused} == {(5, "busy"), (6, "busy"), (7, "busy")}
        bench.gate.set()
        assert {(await reply(client))[0] for _ in range(4)} == {1, 2, 3, 4}

    play(scene, open_requests=4)


def test_a_flood_is_refused_and_others_are_served(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        flooding, calm = bench.client(), bench.client()
        codes = []
        for id in range(60):
            _, result, _ = await ask(flooding, Ping(), id=id)
            codes.append(result.error.code if isinstance(result, Failed) else "ok")
        assert set(codes) == {"ok", "rate_limited"}
        assert codes[:20] == ["ok"] * 20
        assert isinstance((await ask(calm, Ping()))[1], Pong)

    play(scene, messages_per_second=20)


def test_more_clients_than_allowed_are_refused_until_one_leaves(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        clients = [bench.client() for _ in range(3)]
        answers = [(await ask(client, Ping()))[1] for client in clients]
        assert [isinstance(answer, Pong) for answer in answers] == [True, True, False]
        assert answers[2].error.code == "busy"
        for peer in bench.router.peers:
            peer.is_attached = True
        clients[0].close(0)
        async with asyncio.timeout(20):
            while not isinstance((await ask(clients[2], Ping()))[1], Pong):
                await asyncio.sleep(0.1)
        assert len(bench.left) == 1

    play(scene, peers=2)


def test_a_client_that_never_reads_is_not_waited_for(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        deaf, calm = bench.client(), bench.client()
        padding = codec.encode_frames("REQ", Ping(), id=1)
        for _ in range(3000):
            deaf.send_multipart(padding)
            await asyncio.sleep(0)
        assert isinstance((await ask(calm, Ping()))[1], Pong)
        assert all(len(peer.outbox) <= 2 * 64 for peer in bench.router.peers)

    play(scene, messages_per_second=100_000)
