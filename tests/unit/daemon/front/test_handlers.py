"""Handlers over a real store and queue, without sockets."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daemon.front.flow import Flow
from daemon.front.handlers import Front, newest_fitting
from daemon.front.peers import Limits, Peer
from daemon.jobs.queue import JobQueue
from daemon.protocol import codec
from daemon.protocol.commands import AnyCommand as Commands
from daemon.protocol.commands import (
    Attach,
    Attached,
    Credit,
    Drain,
    GetBlob,
    Hello,
    ListJobs,
    ListSessions,
    LoadModel,
    Ping,
    ReadEvents,
    ReadSession,
    Steer,
    StoredEvents,
    Submit,
    Submitted,
    UnloadModel,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobRow, Logged, ResidentPart, Residents
from daemon.protocol.link import DropModels, HoldModel
from daemon.protocol.orders import LearningRate, Order
from daemon.store.db import Store
from daemon.store.events import EventLog
from tests.fake_recipes import job

PEER = Peer(id=b"a", heard=0.0, tokens=1.0)


class Bench:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.log = EventLog(store)
        self.flow = Flow(self.log.read, lambda: [PEER], lambda peer, frames: "sent")
        self.drained: list[bool] = []
        self.previews: list[bool] = []
        self.orders: list[tuple[str, Order]] = []
        self.held: list[Residents] = []
        self.to_hold: list[HoldModel | DropModels] = []
        self.idle: tuple[str, ...] = ("worker",)
        self.front = Front(
            boot_id="boot",
            store_id=store.store_id,
            pid=7,
            sessions_path=folder,
            limits=Limits(),
            queue=JobQueue(store, self.log, folder),
            log=self.log,
            flow=self.flow,
            workers=lambda: {"worker": "ready"},
            order=self.order,
            residents=lambda: self.held,
            hold=self.hold,
            watch_previews=self.previews.append,
            drain=lambda: self.drained.append(True),
            lag=lambda: 0.5,
        )

    def hold(self, message: HoldModel | DropModels) -> tuple[str, ...]:
        self.to_hold.append(message)
        return self.idle

    async def order(self, job_id: str, order: Order) -> JobRow:
        self.orders.append((job_id, order))
        return await self.front.queue.job(job_id)

    async def do(self, command: Any) -> Any:
        return await self.front.table()[type(command)](command, PEER)


Play = Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setenv("NEGTUI_MIN_FREE_MIB", "1")
    (tmp_path / "sessions" / "fake").mkdir(parents=True)
    (tmp_path / "sessions" / "fake" / "session.toml").write_text('[model]\nbase = "toy"\n')

    def play(scene: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
            try:
                await scene(Bench(store, tmp_path / "sessions"))
            finally:
                await store.close()

        asyncio.run(whole())

    return play


def test_every_command_of_the_contract_is_served_by_one_of_the_sockets(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        assert {*bench.front.table(), GetBlob} == set(Commands.__args__)  # type: ignore[attr-defined]

    play(scene)


def test_hello_tells_who_this_is_and_refuses_other_versions(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        told = await bench.do(Hello(min_protocol=0, max_protocol=3))
        assert (told.protocol, told.boot_id, told.store_id, told.pid) == (1, "boot", bench.store.store_id, 7)
        for versions in ((2, 3), (0, 0), (3, 1)):
            with pytest.raises(NegError) as refused:
                await bench.do(Hello(min_protocol=versions[0], max_protocol=versions[1]))
            assert refused.value.detail.code == "bad_version"

    play(scene)


def test_attaching_replays_or_gives_a_snapshot(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        for number in range(3):
            await bench.log.append(Logged(job_id="j", level="info", message=str(number)))
        store_id = bench.store.store_id
        for command, seq, has_snapshot in [
            (Attach(store_id=store_id, since_seq=0), 0, False),
            (Attach(store_id=store_id, since_seq=3), 3, False),
            (Attach(store_id=store_id, since_seq=4), 3, True),
            (Attach(store_id="another", since_seq=1), 3, True),
            (Attach(), 3, True),
        ]:
            reply = await bench.do(command)
            assert isinstance(reply.result, Attached)
            assert (reply.result.seq, reply.result.snapshot is not None) == (seq, has_snapshot)
        assert [row.name for row in reply.result.snapshot.sessions] == ["fake"]
        assert reply.result.snapshot.workers == {"worker": "ready"}

    play(scene)


def test_the_flow_begins_only_behind_the_reply(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        PEER.is_attached = False
        reply = await bench.do(Attach(credit=5, previews=True))
        assert not PEER.is_attached
        reply.then()
        assert (PEER.is_attached, PEER.credit, bench.previews) == (True, 5, [True])
        assert await bench.do(Credit(n=3)) is None
        assert PEER.credit == 8
        assert (await bench.do(Ping())).attached

    play(scene)


def test_jobs_are_submitted_once_and_listed(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        first = await bench.do(Submit(key="key-00001", spec=job()))
        again = await bench.do(Submit(key="key-00001", spec=job()))
        assert isinstance(first, Submitted)
        assert (again.job.id, again.replayed) == (first.job.id, True)
        assert [row.id for row in (await bench.do(ListJobs())).jobs] == [first.job.id]
        with pytest.raises(NegError) as refused:
            await bench.do(Submit(key="key-00002", spec=job("nowhere")))
        assert refused.value.detail.code == "not_found"

    play(scene)


def test_stored_events_fit_into_one_reply(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        for _ in range(7):
            await bench.log.append(Logged(job_id="j", level="info", message="x" * 1_000_000))
        since, seqs = 0, []
        while since < bench.log.head_seq:
            answer = await bench.do(ReadEvents(since_seq=since))
            assert isinstance(answer, StoredEvents)
            assert sum(map(len, answer.events)) < 5_000_000
            seqs += answer.seqs
            since = answer.seqs[-1]
        assert seqs == [1, 2, 3, 4, 5, 6, 7]

    play(scene)


def test_orders_are_passed_on_and_answered_with_the_job(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        submitted = await bench.do(Submit(key="key-00001", spec=job()))
        order = LearningRate(value=2e-4)
        answer = await bench.do(Steer(job_id=submitted.job.id, order=order))
        assert answer.job == submitted.job
        assert bench.orders == [(submitted.job.id, order)]

    play(scene)


def test_sessions_are_listed_and_read(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        assert [row.name for row in (await bench.do(ListSessions())).sessions] == ["fake"]
        with pytest.raises(NegError) as refused:
            await bench.do(ReadSession(name="nowhere"))
        assert refused.value.detail.code == "not_found"

    play(scene)


def test_models_are_loaded_by_idle_workers_only(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        assert (await bench.do(LoadModel(session="fake"))).workers == ("worker",)
        assert (await bench.do(UnloadModel())).workers == ("worker",)
        loaded, dropped = bench.to_hold
        assert isinstance(loaded, HoldModel)
        assert (loaded.model.base, dropped) == ("toy", DropModels())
        bench.idle = ()
        for command, code in ((UnloadModel(), "conflict"), (LoadModel(session="fake"), "conflict"), (LoadModel(session="x"), "not_found")):
            with pytest.raises(NegError) as refused:
                await bench.do(command)
            assert refused.value.detail.code == code

    play(scene)


def test_who_attaches_hears_what_is_held(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        PEER.ephemeral.clear()
        bench.held = [Residents(worker="worker", parts=(ResidentPart(name="unet", kind="base", num_bytes=5, device="cuda"),))]
        (await bench.do(Attach())).then()
        assert [codec.decode_event(frames[1]) for frames in PEER.ephemeral.values()] == bench.held

    play(scene)


def test_draining_begins_behind_the_reply(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        reply = await bench.do(Drain())
        assert bench.drained == []
        reply.then()
        assert bench.drained == [True]

    play(scene)


def test_the_newest_jobs_that_fit() -> None:
    rows = [JobRow(id=str(number), key="k", spec=job(), state="done", created=0.0) for number in range(10)]
    size = len(codec.encode(rows[0]))
    assert [row.id for row in newest_fitting(rows, 3 * size)] == ["7", "8", "9"]
    assert [row.id for row in newest_fitting(rows, 1)] == ["9"]
    assert newest_fitting(rows) == tuple(rows)
    assert newest_fitting([]) == ()
