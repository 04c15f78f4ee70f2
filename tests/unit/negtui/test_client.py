"""The client against a scripted daemon: one ROUTER that answers what the test says."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from daemon.protocol import codec
from daemon.protocol.commands import Attach, Attached, Credit, Failed, Hello, ListSessions, Ping, Pong, Sessions, Snapshot, Welcome
from daemon.protocol.errors import ErrorDetail, NegError
from daemon.protocol.events import Logged, Preview
from negtui.client import Client, Endpoints, NoReply, run


def welcome(boot_id: str = "boot", store_id: str = "store", head_seq: int = 0) -> Welcome:
    return Welcome(protocol=1, version="0", store_id=store_id, boot_id=boot_id, head_seq=head_seq, min_seq=0, sessions_path="/", pid=1)


class Script:
    """Answers by `reply`: a command -> a list of frames to send back, made by `rep` and `evt`."""

    def __init__(self, folder: Path) -> None:
        self.endpoints = Endpoints(f"ipc://{folder / 'ctl'}", f"ipc://{folder / 'blob'}")
        self.heard: list[Any] = []
        self.reply: Callable[[Any], list[Any]] = lambda command: [Failed(error=ErrorDetail(code="internal", message="no script"))]
        self.greeting = welcome()

    async def serve(self, socket: Any) -> None:
        while True:
            peer, head, body, *_ = await socket.recv_multipart()
            id, command = codec.decode_head(head).id, codec.decode_command(body)
            self.heard.append(command)
            if isinstance(command, Hello):
                answers: list[Any] = [self.greeting]
            elif isinstance(command, Ping):
                answers = [Pong(boot_id=self.greeting.boot_id, head_seq=0, attached=True)]
            else:
                answers = self.reply(command)
            for answer in answers:
                if isinstance(answer, tuple):
                    seq, event, *attachments = answer
                    frames = codec.encode_frames("EVT", event, seq=seq, attachments=attachments)
                else:
                    frames = codec.encode_frames("REP", answer, id=id)
                await socket.send_multipart([peer, *frames])


def play(folder: Path, scene: Callable[[Script, Client], Any], reply: Callable[[Any], list[Any]] | None = None) -> Script:
    script = Script(folder)
    if reply is not None:
        script.reply = reply

    async def whole() -> None:
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.ROUTER)
        socket.bind(script.endpoints.ctl)
        serving = asyncio.create_task(script.serve(socket))
        try:
            async with asyncio.timeout(30), Client.connect(script.endpoints) as client:
                await scene(script, client)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            socket.close(0)
            context.term()

    asyncio.run(whole())
    return script


def logged(seq: int) -> tuple[int, Logged]:
    return seq, Logged(job_id="j", level="info", message=str(seq))


def test_a_result_comes_back_and_a_refusal_is_raised(tmp_path: Path) -> None:
    async def scene(script: Script, client: Client) -> None:
        assert client.welcome == welcome()
        assert await client.request(ListSessions()) == Sessions(sessions=())
        script.reply = lambda command: [Failed(error=ErrorDetail(code="not_found", message="Not here.", hint="Look there."))]
        with pytest.raises(NegError, match="Look there") as refused:
            await client.request(ListSessions())
        assert refused.value.detail.code == "not_found"

    play(tmp_path, scene, lambda command: [Sessions(sessions=())])


def test_events_right_behind_the_attached_are_not_missed(tmp_path: Path) -> None:
    async def scene(script: Script, client: Client) -> None:
        events = client.events()
        assert await anext(events) == (4, Snapshot())
        assert [await anext(events) for _ in range(3)] == [logged(5), logged(6), logged(7)]

    play(tmp_path, scene, lambda command: [Attached(seq=4, snapshot=Snapshot()), logged(5), logged(6), logged(7)])


def test_a_hole_is_repaired_by_attaching_again(tmp_path: Path) -> None:
    def reply(command: Any) -> list[Any]:
        if command.since_seq == 0:
            return [Attached(seq=0), logged(1), logged(3), logged(4)]
        return [Attached(seq=command.since_seq), *(logged(seq) for seq in range(command.since_seq + 1, 6))]

    async def scene(script: Script, client: Client) -> None:
        events = client.events(0)
        assert [(await anext(events))[0] for _ in range(5)] == [1, 2, 3, 4, 5]
        assert client.num_holes == 1

    script = play(tmp_path, scene, reply)
    assert [command.since_seq for command in script.heard if isinstance(command, Attach)] == [0, 1]


def test_credit_flows_back_while_events_are_read(tmp_path: Path) -> None:
    def reply(command: Any) -> list[Any]:
        return [Attached(seq=0), *(logged(seq) for seq in range(1, 257))] if isinstance(command, Attach) else []

    async def scene(script: Script, client: Client) -> None:
        events = client.events(0)
        for _ in range(256):
            await anext(events)
        while sum(command.n for command in script.heard if isinstance(command, Credit)) < 256:
            await asyncio.sleep(0.01)

    play(tmp_path, scene, reply)


def test_a_preview_has_its_picture(tmp_path: Path) -> None:
    preview = Preview(job_id="j", image_id="i", step=1, num_steps=2)

    async def scene(script: Script, client: Client) -> None:
        seq, event = await anext(client.events(0, previews=True))
        assert (seq, event) == (0, Preview(job_id="j", image_id="i", step=1, num_steps=2, jpeg=b"jpeg"))

    script = play(tmp_path, scene, lambda command: [Attached(seq=0), (0, preview, b"jpeg")])
    assert any(isinstance(command, Attach) and command.previews for command in script.heard)


def test_a_restarted_daemon_is_greeted_again_and_the_flow_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negtui.line.PING_SECONDS", 0.05)

    def reply(command: Any) -> list[Any]:
        return [Attached(seq=command.since_seq), logged(command.since_seq + 1)]

    async def scene(script: Script, client: Client) -> None:
        events = client.events(0)
        assert await anext(events) == logged(1)
        script.greeting = welcome(boot_id="another")
        assert await anext(events) == logged(2)
        assert client.welcome is not None
        assert client.welcome.boot_id == "another"

    play(tmp_path, scene, reply)


def test_nobody_there_is_said_in_words(tmp_path: Path) -> None:
    async def scene() -> None:
        endpoints = Endpoints(f"ipc://{tmp_path / 'ctl'}", f"ipc://{tmp_path / 'blob'}")
        async with Client.connect(endpoints, seconds=0.3):
            pytest.fail("nobody is there")

    with pytest.raises(NoReply, match="No daemon"):
        asyncio.run(scene())


def test_a_daemon_that_died_while_it_was_looked_for_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negtui.client.REVIVE_SECONDS", 0.05)
    script, serving = Script(tmp_path), []

    async def revive() -> None:
        if not serving:
            socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
            socket.bind(script.endpoints.ctl)
            serving.append((asyncio.create_task(script.serve(socket)), socket))

    async def scenario() -> str:
        client = Client(script.endpoints)
        found = await client.open(10.0, revive)
        await client.close()
        task, socket = serving[0]
        task.cancel()
        socket.close(0)
        return found.boot_id

    assert run(scenario()) == "boot"


def test_events_have_one_reader(tmp_path: Path) -> None:
    async def scene(script: Script, client: Client) -> None:
        first = client.events(0)
        await anext(first)
        with pytest.raises(RuntimeError):
            await anext(client.events(0))
        await first.aclose()
        await anext(client.events(0))

    play(tmp_path, scene, lambda command: [Attached(seq=0), logged(1)])


def test_callers_without_a_loop() -> None:
    async def answer() -> int:
        return 42

    assert run(answer()) == 42
