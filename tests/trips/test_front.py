"""A real front, a real worker, real sockets: what a client may rely on."""

import asyncio
import contextlib
import os
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.commands import (
    Cancel,
    CreateSession,
    Drain,
    ListJobs,
    ListSessions,
    Pause,
    Ping,
    Pong,
    ReadEvents,
    ReadSession,
    Resume,
    Snapshot,
    StoredEvents,
    Submit,
    Submitted,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import AnyEvent, ImageSaved, JobStateChanged, SessionChanged, StepProgress
from negtui.client import Client, Endpoints, NoReply
from negtui.inbox import Item
from tests.fake_recipes import computed, job

SECONDS = 60


async def until(events: AsyncIterator[Item], wanted: Any) -> list[Item]:
    """Items up to and with the first that `wanted` accepts."""
    items: list[Item] = []
    async with asyncio.timeout(SECONDS):
        async for item in events:
            items.append(item)
            if wanted(item[1]):
                return items
    raise AssertionError("the events ended")


def is_done(event: AnyEvent | Snapshot) -> bool:
    return isinstance(event, JobStateChanged) and event.job.state == "done"


def seqs(items: list[Item]) -> list[int]:
    return [seq for seq, _ in items if seq]


def test_submit_runs_a_job_and_tells_all(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            events = client.events()
            first, snapshot = await anext(events)
            assert isinstance(snapshot, Snapshot)
            assert [row.name for row in snapshot.sessions] == ["fake"]
            submitted = await client.request(Submit(key="key-00001", spec=job(step_seconds=0.15)))
            assert isinstance(submitted, Submitted)
            items = await until(events, is_done)
            assert seqs(items) == list(range(first + 1, first + 1 + len(seqs(items))))
            images = [event for _, event in items if isinstance(event, ImageSaved)]
            assert [image.index for image in images] == [0, 1, 2]
            assert any(isinstance(event, StepProgress) for _, event in items)
            again = await client.request(Submit(key="key-00001", spec=job(step_seconds=0.15)))
            assert isinstance(again, Submitted)
            assert (again.replayed, again.job.id) == (True, submitted.job.id)
            with pytest.raises(NegError, match="key") as refused:
                await client.request(Submit(key="key-00001", spec=job(num_images=9)))
            assert refused.value.detail.code == "conflict"

    asyncio.run(trip())


def test_a_client_that_comes_back_gets_what_it_missed(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            seen, _ = await anext(client.events())
            await client.request(Submit(key="key-00001", spec=job()))
        async with Client.connect(front.endpoints) as client:
            items = await until(client.events(seen), is_done)
            assert seqs(items)[0] == seen + 1
            stored = await client.request(ReadEvents(since_seq=seen, limit=1000))
            assert isinstance(stored, StoredEvents)
            assert list(stored.seqs)[: len(seqs(items))] == seqs(items)

    asyncio.run(trip())


def test_a_place_in_another_log_gives_a_snapshot(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            seq, item = await anext(client.events(10**9))
            assert isinstance(item, Snapshot)
            assert seq < 10**6

    asyncio.run(trip())


def test_two_clients_agree(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as one, Client.connect(front.endpoints) as other:
            assert one.welcome is not None
            since = one.welcome.head_seq
            collecting = [asyncio.create_task(until(client.events(since), is_done)) for client in (one, other)]
            await one.request(Submit(key="key-00001", spec=job(num_images=5)))
            first, second = await asyncio.gather(*collecting)
            assert [item for item in first if item[0]] == [item for item in second if item[0]]

    asyncio.run(trip())


def test_a_stalled_client_costs_nothing_and_loses_nothing(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as stalled, Client.connect(front.endpoints) as quick:
            assert quick.welcome is not None
            since = quick.welcome.head_seq
            slow, fast = stalled.events(since), quick.events(since)
            waiting = asyncio.create_task(anext(slow))
            await quick.request(Submit(key="key-00001", spec=job(num_images=800, steps=0)))
            items = await until(fast, is_done)
            await waiting
            before = front.resident_bytes()
            # The stalled one has read one event; its credit is used up, and the rest lies in the log alone.
            assert stalled._inbox is not None
            assert stalled._inbox.last_seq < items[-1][0]
            pong = await quick.request(Ping())
            assert isinstance(pong, Pong)
            rest = await until(slow, is_done)
            assert [waiting.result()[0], *seqs(rest)] == seqs(items)
            assert front.resident_bytes() < before + 30 * 2**20

    asyncio.run(trip())


def test_a_killed_daemon_comes_back_and_the_client_catches_up(front: Any) -> None:
    contacts: list[bool] = []

    async def trip() -> None:
        async with Client.connect(front.endpoints, on_contact=lambda up, _: contacts.append(up)) as client:
            assert client.welcome is not None
            boot_id, since = client.welcome.boot_id, client.welcome.head_seq
            events = client.events(since)
            await client.request(Submit(key="key-00001", spec=job(num_images=12, step_seconds=0.02)))
            items = await until(events, lambda event: isinstance(event, ImageSaved))
            front.kill()
            asking = asyncio.create_task(client.request(ListJobs()))
            await asyncio.to_thread(front.start)
            items += await until(events, is_done)
            assert seqs(items) == list(range(since + 1, since + 1 + len(seqs(items))))
            images = [event.index for _, event in items if isinstance(event, ImageSaved)]
            assert images == list(range(12))
            assert len(computed(front.places.sessions_path / "fake")) == 12
            await asking
            assert client.welcome.boot_id != boot_id
            assert client.num_holes == 0

    asyncio.run(trip())
    assert contacts[0] is True
    assert False in contacts


def test_pause_resume_cancel_are_targets(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            events = client.events()
            submitted = await client.request(Submit(key="key-00001", spec=job(num_images=500, step_seconds=0.05)))
            assert isinstance(submitted, Submitted)
            await until(events, lambda event: isinstance(event, ImageSaved))
            for command, state in ((Pause, "paused"), (Resume, "running"), (Cancel, "cancelled")):
                await client.request(command(job_id=submitted.job.id))
                await until(events, lambda event, state=state: isinstance(event, JobStateChanged) and event.job.state == state)
            with pytest.raises(NegError) as refused:
                await client.request(Pause(job_id="nosuchjob"))
            assert refused.value.detail.code == "not_found"

    asyncio.run(trip())


def test_sessions_by_wire_and_by_hand(front: Any) -> None:
    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            events = client.events()
            await anext(events)
            await client.request(CreateSession(name="mine", template="toy", skip_checks=True))
            await until(events, lambda event: isinstance(event, SessionChanged) and (event.session, event.change) == ("mine", "created"))
            with pytest.raises(NegError) as taken:
                await client.request(CreateSession(name="mine", template="toy", skip_checks=True))
            assert taken.value.detail.code == "conflict"
            path = front.places.sessions_path / "fake" / "session.toml"
            path.write_text("[model]\nbase = 3\n")
            items = await until(events, lambda event: isinstance(event, SessionChanged) and event.change == "invalid")
            assert "session.toml" in items[-1][1].message
            with pytest.raises(NegError, match=r"session\.toml"):
                await client.request(ReadSession(name="fake"))
            (path.parent / "dataset").mkdir()
            await asyncio.sleep(0.5)
            (path.parent / "dataset" / "dropped.png").write_bytes(b"not a picture yet")
            await until(events, lambda event: isinstance(event, SessionChanged) and event.change == "images")
            rows = await client.request(ListSessions())
            assert [(row.name, bool(row.error)) for row in rows.sessions] == [("fake", True), ("mine", False)]

    asyncio.run(trip())


def test_a_submission_nobody_answered_is_sent_at_the_next_start(front: Any, tmp_path: Path) -> None:
    command = Submit(key="key-00001", spec=job())
    front.kill()
    outbox = tmp_path / "outbox"

    async def ask_in_vain() -> None:
        from negtui.outbox import Outbox

        client = Client(front.endpoints, outbox=Outbox(outbox))
        client._ctl.start()
        client._blob.start()
        with pytest.raises(NoReply):
            await client.request(command, seconds=0.2)
        await client.close()

    async def come_back() -> None:
        async with Client.connect(front.endpoints, outbox_path=outbox) as client:
            jobs = await client.request(ListJobs())
            assert [row.key for row in jobs.jobs] == ["key-00001"]

    asyncio.run(ask_in_vain())
    assert len(list(outbox.iterdir())) == 1
    front.start()
    asyncio.run(come_back())
    assert list(outbox.iterdir()) == []


def test_sockets_are_private_and_no_port_is_open(front: Any) -> None:
    assert stat.S_IMODE(front.places.runtime_path.stat().st_mode) == 0o700
    for name in ("ctl", "blob"):
        assert stat.S_IMODE((front.places.runtime_path / name).stat().st_mode) & 0o077 == 0
    links = set()
    for path in Path(f"/proc/{front.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(path.readlink()))
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    assert inodes
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path("/proc/net", table).read_text().splitlines()[1:]
        assert not inodes & {line.split()[9] for line in lines}


def test_a_second_daemon_is_refused_in_words(front: Any) -> None:
    second = subprocess.run(front.command("run"), env=front.environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 69
    assert "already runs" in second.stderr
    assert str(front.process.pid) in second.stderr

    async def still_there() -> None:
        async with Client.connect(front.endpoints) as client:
            assert client.welcome is not None
            assert client.welcome.pid == front.process.pid

    asyncio.run(still_there())


@pytest.mark.parametrize("how", ["SIGTERM", "Drain"])
def test_draining_ends_well_and_the_job_goes_on_at_the_next_start(front: Any, how: str) -> None:
    async def begin() -> int:
        async with Client.connect(front.endpoints) as client:
            events = client.events()
            await client.request(Submit(key="key-00001", spec=job(num_images=40, step_seconds=0.02)))
            items = await until(events, lambda event: isinstance(event, ImageSaved))
            if how == "Drain":
                await client.request(Drain())
            return items[-1][0]

    async def finish(since: int) -> None:
        async with Client.connect(front.endpoints) as client:
            await until(client.events(since), is_done)

    since = asyncio.run(begin())
    assert (front.stop() if how == "SIGTERM" else front.process.wait(timeout=60)) == 0
    front.start()
    asyncio.run(finish(since))
    assert len(computed(front.places.sessions_path / "fake")) == 40


def test_a_vanished_socket_folder_is_made_again(front: Any) -> None:
    for path in front.places.runtime_path.iterdir():
        path.unlink()
    front.places.runtime_path.rmdir()

    async def come_back() -> None:
        async with Client.connect(front.endpoints, seconds=30) as client:
            assert client.welcome is not None
            assert client.welcome.pid == front.process.pid

    asyncio.run(come_back())


def test_endpoints_are_told_for_ssh(front: Any) -> None:
    import json

    told = subprocess.run(front.command("endpoints", "--json"), env=front.environment, capture_output=True, text=True, check=True)
    found = json.loads(told.stdout)
    assert Endpoints(f"ipc://{found['ctl']}", f"ipc://{found['blob']}") == front.endpoints
    assert found["is_running"] is True
    front.stop()
    told = subprocess.run(front.command("endpoints", "--json"), env=front.environment, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["is_running"] is False


def test_the_front_bounds_its_own_memory_and_not_its_workers(front: Any) -> None:
    def limit(pid: int) -> str:
        (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max data size"))
        return line.split()[3]

    async def trip() -> None:
        async with Client.connect(front.endpoints) as client:
            events = client.events()
            await client.request(Submit(key="key-00001", spec=job()))
            await until(events, is_done)

    asyncio.run(trip())
    assert front.process is not None
    children = Path(f"/proc/{front.process.pid}/task").glob("*/children")
    (worker,) = {int(pid) for found in children for pid in found.read_text().split()}
    assert limit(front.process.pid) == str(2 * 2**30)
    assert limit(worker) == limit(os.getpid())
