import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from daemon.jobs import local
from daemon.jobs.executor import WorkerLost
from daemon.jobs.local import LocalExecutor, LocalWorker
from daemon.protocol.link import Alive, FromWorker, RunUnit, UnitEnded, UnitTold, WorkerReady
from tests import fake_recipes


def with_worker(folder: Path, trip: Callable[[LocalWorker], Awaitable[None]], **environment: str) -> str:
    """Run a trip with a real worker process; returns its log."""

    async def run() -> None:
        executor = LocalExecutor(
            folder / "log", folder / "cache", environment={"NEGTUI_RECIPES": "tests.fake_recipes:RECIPES", **environment}
        )
        worker = await executor.start("worker")
        try:
            ready = await worker.receive()
            assert ready == WorkerReady(pid=worker.pid)
            await trip(worker)
        finally:
            await worker.stop(5.0)

    (folder / "sessions" / "fake").mkdir(parents=True)
    asyncio.run(run())
    return (folder / "log").read_text()


def unit(folder: Path, **settings: object) -> RunUnit:
    return RunUnit(job_id="j", fence=1, spec=fake_recipes.job(**settings), session_path=str(folder / "sessions" / "fake"))


async def lost(worker: LocalWorker) -> tuple[list[FromWorker], str]:
    heard: list[FromWorker] = []
    try:
        while True:
            heard.append(await worker.receive())
    except WorkerLost as error:
        return heard, str(error)


def test_a_unit_there_and_back(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        worker.send(unit(tmp_path, num_images=2))
        told = []
        while not isinstance(message := await worker.receive(), UnitEnded):
            told.append(message)
        assert message == UnitEnded(job_id="j", fence=1, outcome="done")
        assert sum(isinstance(message, UnitTold) and message.event.key is not None for message in told) == 2
        await worker.stop(5.0)
        assert (await lost(worker))[1] == f"left (exit code 0) (log: {tmp_path / 'log'})"

    assert with_worker(tmp_path, trip) == ""


def test_what_was_said_before_death_is_heard_then_how_it_died(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        worker.send(unit(tmp_path, num_images=9, kill_at=5))
        heard, how = await lost(worker)
        assert sum(isinstance(message, UnitTold) and message.event.key is not None for message in heard) == 5
        assert how.startswith("was ended by SIGKILL (log: ")
        assert how.endswith("log)")

    with_worker(tmp_path, trip)


def test_a_cuda_error_ends_the_process_with_70(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        worker.send(unit(tmp_path, raises="cuda"))
        heard, how = await lost(worker)
        assert not any(isinstance(message, UnitEnded) for message in heard)
        assert how.startswith("met a CUDA error it cannot recover from (exit code 70)")

    assert "device-side assert" in with_worker(tmp_path, trip)


def test_nonsense_on_the_line_ends_the_worker(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        worker.send(unit(tmp_path, garbage_at=0))
        assert (await lost(worker))[1].startswith("sent something unreadable")
        assert not Path("/proc", str(worker.pid)).exists()

    with_worker(tmp_path, trip)


async def hang(folder: Path, worker: LocalWorker) -> None:
    worker.send(unit(folder, hang_at=0))
    async with asyncio.timeout(30):
        while not (folder / "sessions" / "fake" / "cache" / "hangs").exists():
            assert isinstance(await worker.receive(), Alive)


def test_a_hung_worker_leaves_its_stacks_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TERMINATE_SECONDS", 0.2)

    async def trip(worker: LocalWorker) -> None:
        await hang(tmp_path, worker)
        await asyncio.gather(worker.end(dump=True), lost(worker))
        assert not Path("/proc", str(worker.pid)).exists()

    log = with_worker(tmp_path, trip)
    assert "most recent call first" in log
    assert "_trouble" in log


def test_ctrl_c_is_not_the_workers_business(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        os.kill(worker.pid, signal.SIGINT)
        assert os.getpgid(worker.pid) == os.getsid(worker.pid) == worker.pid
        worker.send(unit(tmp_path, num_images=1))
        while not isinstance(message := await worker.receive(), UnitEnded):
            pass
        assert message.outcome == "done"

    with_worker(tmp_path, trip)


def test_sigterm_is_a_pause_and_a_leave(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        worker.send(unit(tmp_path, num_images=1000, step_seconds=0.01))
        while not isinstance(await worker.receive(), UnitTold):
            pass
        os.kill(worker.pid, signal.SIGTERM)
        heard, how = await lost(worker)
        assert isinstance(heard[-1], UnitEnded)
        assert heard[-1].outcome == "paused"
        assert how.startswith("left (exit code 0)")

    with_worker(tmp_path, trip)


def test_a_worker_ends_with_its_front(tmp_path: Path) -> None:
    async def trip(worker: LocalWorker) -> None:
        await hang(tmp_path, worker)
        worker._writer.close()
        async with asyncio.timeout(10):
            while Path("/proc", str(worker.pid)).exists():
                await asyncio.sleep(0.01)

    with_worker(tmp_path, trip)


def test_each_name_has_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = LocalExecutor(tmp_path / "log", tmp_path / "cache", devices={"gpu-0": "GPU-abc", "gpu-1": None})
    assert executor.names == ("gpu-0", "gpu-1")

    async def trip() -> None:
        for name, expected in (("gpu-0", b"CUDA_VISIBLE_DEVICES=GPU-abc"), ("gpu-1", b"CUDA_VISIBLE_DEVICES=7")):
            worker = await executor.start(name)
            await worker.receive()
            assert expected in Path("/proc", str(worker.pid), "environ").read_bytes().split(b"\0")
            await worker.stop(5.0)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    asyncio.run(trip())
