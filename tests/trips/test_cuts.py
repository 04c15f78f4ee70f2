"""A connection cut at a random byte, again and again: nothing lost, nothing told twice, nothing done twice."""

import asyncio
import contextlib
import random
import secrets
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.commands import Jobs, ListJobs, ReadEvents, StoredEvents, Submit
from daemon.protocol.events import JobStateChanged
from negtui.client import Client, Endpoints
from tests.fake_recipes import computed, job


class CuttingProxy:
    """Forwards a unix socket, and cuts each connection after a random number of bytes, `num_cuts` times in all."""

    def __init__(self, path: Path, target: Path, num_cuts: int, generator: random.Random) -> None:
        self._path, self._target = path, target
        self.num_left = num_cuts
        self._generator = generator
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "CuttingProxy":
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [writer]
        budget = [int(10 ** self._generator.uniform(1.8, 4.3))] if self.num_left else [2**60]
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._target)
            ends.append(there_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there_writer, budget))
                group.create_task(self._pump(there_reader, writer, budget))
        except (ExceptionGroup, OSError):
            pass
        finally:
            if budget[0] <= 0 and self.num_left:
                self.num_left -= 1
            for end in ends:
                end.transport.abort()
            with contextlib.suppress(OSError):
                await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: list[int]) -> None:
        while budget[0] > 0 and (chunk := await reader.read(4096)):
            writer.write(chunk[: budget[0]])
            budget[0] -= len(chunk)
            await writer.drain()
        raise ConnectionError("cut")


@pytest.mark.parametrize("num_cuts", [12, pytest.param(100, marks=pytest.mark.full)])
def test_a_client_that_is_cut_off_catches_up(front: Any, tmp_path: Path, num_cuts: int, record_property: Any) -> None:
    seed = secrets.randbits(32)
    record_property("seed", seed)
    num_jobs = num_cuts // 2

    async def trip() -> None:
        proxied = front.places.runtime_path / "cut"
        target = front.places.runtime_path / "ctl"
        async with CuttingProxy(proxied, target, num_cuts, random.Random(seed)) as proxy:
            endpoints = Endpoints(f"ipc://{proxied}", front.endpoints.blob)
            async with Client.connect(endpoints, outbox_path=tmp_path / "outbox", seconds=60) as client:
                await flow(client, proxy)

    async def flow(client: Client, proxy: CuttingProxy) -> None:
        assert client.welcome is not None
        since = client.welcome.head_seq
        done, seqs, number = 0, [], 0

        async def submit_all() -> None:
            nonlocal number
            while number < num_jobs or proxy.num_left:
                await client.request(Submit(key=f"key-{number:05}", spec=job(num_images=4, steps=1, salt=number)), seconds=120)
                number += 1

        submitting = asyncio.create_task(submit_all())
        async with asyncio.timeout(250):
            async for seq, event in client.events(since):
                if seq:
                    seqs.append(seq)
                done += isinstance(event, JobStateChanged) and event.job.state == "done"
                if submitting.done() and done >= number:
                    break
        await submitting
        assert proxy.num_left == 0
        assert seqs == list(range(since + 1, since + 1 + len(seqs)))
        assert client.num_holes == 0
        jobs = await client.request(ListJobs(limit=10_000))
        assert isinstance(jobs, Jobs)
        assert [row.key for row in jobs.jobs] == [f"key-{index:05}" for index in range(number)]
        stored = await client.request(ReadEvents(since_seq=since, limit=1000))
        assert isinstance(stored, StoredEvents)
        assert list(stored.seqs)[: len(seqs)] == seqs[: len(stored.seqs)]

    try:
        asyncio.run(trip())
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    assert len(computed(front.places.sessions_path / "fake")) == 4
