"""A connection kept up over pipes that break at will."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.protocol import codec
from daemon.protocol.commands import Command, CreateSession, Draining, Failed, Hello, ListJobs, Ping, Pong, Sessions
from daemon.protocol.errors import ErrorDetail, NegError
from negtui.line import Line, NoReply, is_listening


class FakePipe:
    """Answers by `reply`, a command -> a result or None for silence."""

    def __init__(self, service: "FakeService", on_message: Callable[[list[bytes]], None], on_down: Callable[[], None]) -> None:
        self.service, self.on_message, self.on_down = service, on_message, on_down
        self.is_closed = False

    def send(self, frames: list[bytes]) -> None:
        command = codec.decode_command(frames[1])
        self.service.heard.append(command)
        result = self.service.reply(command)
        if result is not None:
            answer = codec.encode_frames("REP", result, id=codec.decode_head(frames[0]).id)
            asyncio.get_running_loop().call_soon(self.on_message, answer)

    def close(self) -> None:
        self.is_closed = True


class FakeService:
    def __init__(self) -> None:
        self.heard: list[Command] = []
        self.pipes: list[FakePipe] = []
        self.reply: Callable[[Any], Any] = lambda command: Pong(boot_id="x", head_seq=0)

    def make_pipe(self, endpoint: str, on_message: Callable[[list[bytes]], None], on_down: Callable[[], None]) -> FakePipe:
        self.pipes.append(FakePipe(self, on_message, on_down))
        return self.pipes[-1]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """Something listens there, so that the line tries."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "x"))
        server.listen(100)
        yield f"ipc://{tmp_path / 'x'}"


def play(endpoint: str, scene: Callable[[FakeService, Line], Any], **options: Any) -> FakeService:
    async def whole() -> FakeService:
        service = FakeService()

        async def greet() -> None:
            result, _ = await line.ask(Hello(min_protocol=1, max_protocol=1), 5, greeting=True)
            if isinstance(result, Failed):
                raise NegError.from_detail(result.error)

        line = Line(endpoint, service.make_pipe, greet, **options)
        line.start()
        try:
            async with asyncio.timeout(30):
                await scene(service, line)
        finally:
            await line.close()
        return service

    return asyncio.run(whole())


def test_greeting_comes_before_what_was_asked_first(endpoint: str) -> None:
    async def scene(service: FakeService, line: Line) -> None:
        result, _ = await line.ask(ListJobs(), 10)
        assert isinstance(result, Pong)

    service = play(endpoint, scene)
    assert service.heard == [Hello(min_protocol=1, max_protocol=1), ListJobs()]


def test_after_a_break_what_may_be_repeated_is_sent_again(endpoint: str) -> None:
    contacts: list[bool] = []

    async def scene(service: FakeService, line: Line) -> None:
        service.reply = lambda command: Draining() if isinstance(command, Hello) else None
        asking = asyncio.create_task(line.ask(ListJobs(), 20))
        while ListJobs() not in service.heard:
            await asyncio.sleep(0.01)
        service.pipes[-1].on_down()
        await asyncio.sleep(0.02)
        service.reply = lambda command: Sessions(sessions=())
        assert (await asking)[0] == Sessions(sessions=())
        assert [pipe.is_closed for pipe in service.pipes] == [True, False]

    service = play(endpoint, scene, on_contact=lambda up, _: contacts.append(up))
    assert service.heard.count(ListJobs()) == 2
    assert contacts == [True, False, True]


def test_what_must_not_be_repeated_is_unknown(endpoint: str) -> None:
    command = CreateSession(name="a", template="toy")

    async def scene(service: FakeService, line: Line) -> None:
        service.reply = lambda command: Draining() if isinstance(command, Hello) else None
        asking = asyncio.create_task(line.ask(command, 20))
        while command not in service.heard:
            await asyncio.sleep(0.01)
        service.pipes[-1].on_down()
        with pytest.raises(NoReply):
            await asking

    service = play(endpoint, scene)
    assert service.heard.count(command) == 1


def test_silence_is_unknown_not_failure(endpoint: str) -> None:
    async def scene(service: FakeService, line: Line) -> None:
        service.reply = lambda command: Draining() if isinstance(command, Hello) else None
        with pytest.raises(NoReply) as silent:
            await line.ask(ListJobs(), 0.1)
        assert silent.value.detail.retryable

    play(endpoint, scene)


def test_another_version_ends_the_line_for_good(endpoint: str) -> None:
    async def scene(service: FakeService, line: Line) -> None:
        service.reply = lambda command: Failed(error=ErrorDetail(code="bad_version", message="Protocol 2 is spoken."))
        for _ in range(2):
            with pytest.raises(NegError, match="Protocol 2"):
                await line.ask(ListJobs(), 10)
        assert len(service.pipes) == 1

    play(endpoint, scene)


def test_a_full_house_is_tried_again(endpoint: str) -> None:
    async def scene(service: FakeService, line: Line) -> None:
        service.reply = lambda command: Failed(error=ErrorDetail(code="busy", message="Full.", retryable=True))
        while len(service.pipes) < 2:
            await asyncio.sleep(0.01)
        service.reply = lambda command: Draining()
        await line.ask(ListJobs(), 20)

    play(endpoint, scene)


def test_what_is_too_large_is_never_sent(endpoint: str) -> None:
    async def scene(service: FakeService, line: Line) -> None:
        with pytest.raises(NegError) as refused:
            await line.ask(Hello(min_protocol=1, max_protocol=1, client="x" * 300_000), 10)
        assert refused.value.detail.code == "too_large"

    assert all(not isinstance(command, Hello) or len(command.client) < 99 for command in play(endpoint, scene).heard)


def test_nonsense_and_answers_to_nothing_are_dropped(endpoint: str) -> None:
    async def scene(service: FakeService, line: Line) -> None:
        await line.ask(ListJobs(), 10)
        for frames in (
            [b"x"],
            [b""],
            codec.encode_frames("REP", Pong(boot_id="", head_seq=0)),
            [msgspec.msgpack.encode([b"NEG", 1, "REP"]), b"\xc1"],
        ):
            service.pipes[-1].on_message(frames)
        await line.ask(ListJobs(), 10)

    assert len(play(endpoint, scene).pipes) == 1


def test_a_silent_daemon_is_left_after_three_pings(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negtui.line.PING_SECONDS", 0.03)

    async def scene(service: FakeService, line: Line) -> None:
        service.reply = lambda command: Draining() if isinstance(command, Hello) else None
        while len(service.pipes) < 2:
            await asyncio.sleep(0.01)

    service = play(endpoint, scene, ping=lambda: Ping(last_seq=3))
    assert Ping(last_seq=3) in service.heard


def test_listening_is_told_from_a_stale_file(endpoint: str, tmp_path: Path) -> None:
    assert is_listening(endpoint)
    assert not is_listening(f"ipc://{tmp_path / 'nothing'}")
    (tmp_path / "file").touch()
    assert not is_listening(f"ipc://{tmp_path / 'file'}")


def test_in_a_hurry_it_does_not_wait_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negtui.line.FIRST_BACKOFF_SECONDS", 3600.0)
    monkeypatch.setattr("negtui.line.MAX_BACKOFF_SECONDS", 3600.0)
    lost = asyncio.Event()

    async def scene(service: FakeService, line: Line) -> None:
        await lost.wait()
        await asyncio.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "late"))
            server.listen(100)
            line.hurry()
            assert isinstance((await line.ask(ListJobs(), 10))[0], Pong)
        assert line.silent_seconds < 10

    play(f"ipc://{tmp_path / 'late'}", scene, on_contact=lambda up, _: None if up else lost.set())
