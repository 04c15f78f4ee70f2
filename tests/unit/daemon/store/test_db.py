import asyncio
import errno
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.protocol.errors import NegError
from daemon.protocol.events import Logged
from daemon.store import db
from daemon.store.db import Store, ballast_bytes_configured
from daemon.store.disk import Ballast
from daemon.store.events import EventLog, Fence


def logged(text: str) -> Logged:
    return Logged(job_id="j", level="info", message=text)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    return error


def test_a_store_keeps_its_id_and_its_events(tmp_path: Path) -> None:
    async def trip() -> None:
        store = await Store.open(tmp_path / "state" / "neg.db", ballast_bytes=4096)
        assert (store.head_seq, store.min_seq) == (0, 0)
        assert (tmp_path / "state" / "neg.ballast").stat().st_size == 4096
        assert (tmp_path / "state" / "neg.db").stat().st_mode & 0o777 == 0o600
        assert await EventLog(store).append(logged("one")) == 1
        await store.close()
        again = await Store.open(tmp_path / "state" / "neg.db", ballast_bytes=0)
        assert (again.store_id, again.head_seq) == (store.store_id, 1)
        await again.close()

    asyncio.run(trip())


def test_an_answer_comes_after_its_commit_and_many_share_one(tmp_path: Path) -> None:
    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        statements: list[str] = []
        await store.read(lambda connection: connection.set_trace_callback(statements.append))
        heads: list[int] = []
        committed_when_told: list[bool] = []

        def listener(head_seq: int) -> None:
            heads.append(head_seq)
            inserts = [index for index, statement in enumerate(statements) if statement.startswith("INSERT")]
            commits = [index for index, statement in enumerate(statements) if statement == "COMMIT"]
            committed_when_told.append(len(commits) > 0 and commits[-1] > inserts[head_seq - 1])

        store.add_listener(listener)
        log = EventLog(store)
        futures = [log.enqueue(logged(str(number))) for number in range(300)]
        assert await asyncio.gather(*futures) == list(range(1, 301))
        assert heads == sorted(heads)
        assert heads[-1] == 300
        assert all(committed_when_told)
        assert statements.count("COMMIT") <= 150
        await store.close()

    asyncio.run(trip())


def test_what_an_operation_raises_undoes_it_alone(tmp_path: Path) -> None:
    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)

        def broken(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO meta VALUES ('broken', 'x')")
            raise NegError("conflict", "no")

        def good(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT INTO meta VALUES ('good', 'x')")
            return "fine"

        results = await asyncio.gather(store.enqueue(broken), store.enqueue(good), return_exceptions=True)
        assert isinstance(results[0], NegError)
        assert results[1] == "fine"
        keys = await store.read(lambda connection: {key for (key,) in connection.execute("SELECT key FROM meta")})
        assert keys == {"store_id", "good"}
        await store.close()

    asyncio.run(trip())


def test_a_cancelled_waiter_does_not_stop_the_others(tmp_path: Path) -> None:
    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        log = EventLog(store)
        impatient, patient = log.enqueue(logged("a")), log.enqueue(logged("b"))
        impatient.cancel()
        assert await patient == 2
        await store.close()

    asyncio.run(trip())


def test_a_closed_store_refuses(tmp_path: Path) -> None:
    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        last = EventLog(store).enqueue(logged("last"))
        await store.close()
        assert await last == 1, "what was in line is finished"
        with pytest.raises(NegError, match="closed"):
            await store.read(lambda connection: None)

    asyncio.run(trip())


def test_a_second_daemon_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "LOCK_SECONDS", 0.05)

    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        with pytest.raises(NegError) as refusal:
            await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        assert refusal.value.detail.code == "busy"
        await store.close()

    asyncio.run(trip())


def test_a_damaged_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "neg.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(NegError) as refusal:
        asyncio.run(Store.open(tmp_path / "neg.db", ballast_bytes=0))
    assert refusal.value.detail.code == "corrupt"


def test_a_database_whose_log_is_damaged_is_said_in_words(tmp_path: Path) -> None:
    async def trip() -> None:
        await (await Store.open(tmp_path / "neg.db", ballast_bytes=0)).close()
        with sqlite3.connect(tmp_path / "neg.db") as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.close()
        with (tmp_path / "neg.db").open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)
        async with asyncio.timeout(10):
            await Store.open(tmp_path / "neg.db", ballast_bytes=0)

    with pytest.raises(NegError, match="cannot be read") as refusal:
        asyncio.run(trip())
    assert refusal.value.detail.code == "corrupt"


def test_a_file_that_cannot_be_opened_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "neg.db").mkdir()
    with pytest.raises(NegError, match="Is a directory") as refusal:
        asyncio.run(Store.open(tmp_path / "neg.db", ballast_bytes=0))
    assert refusal.value.detail.code == "invalid"


def test_a_full_disk_is_said_and_over_when_there_is_room(tmp_path: Path) -> None:
    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        log = EventLog(store)
        await log.append(logged("before"))
        pages = await store.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await store.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        with pytest.raises(NegError) as refusal:
            await log.append(logged("x" * 100_000))
        assert refusal.value.detail.code == "disk_full"
        await store.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        assert await log.append(logged("x" * 100_000)) == 2
        assert await store.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()) == ("ok",)
        await store.close()

    asyncio.run(trip())


def test_the_ballast_makes_room_for_the_change_that_met_the_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast, transact = tmp_path / "neg.ballast", db._transact

    def full_while_ballast(connection: sqlite3.Connection, operations: list[db._Operation]) -> None:
        transact(connection, operations) if not ballast.exists() else _raise(sqlite_error(sqlite3.SQLITE_FULL))

    def _raise(error: Exception) -> None:
        raise error

    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=4096)
        assert ballast.exists()
        monkeypatch.setattr(db, "_transact", full_while_ballast)
        assert await EventLog(store).append(logged("blocked")) == 1
        assert not ballast.exists()
        await store.close()

    asyncio.run(trip())


def test_what_a_job_tells_leaves_the_reserve_to_changes_of_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast, transact = tmp_path / "neg.ballast", db._transact

    def full_while_ballast(connection: sqlite3.Connection, operations: list[db._Operation]) -> None:
        if ballast.exists():
            raise sqlite_error(sqlite3.SQLITE_FULL)
        transact(connection, operations)

    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=4096)
        log = EventLog(store)
        monkeypatch.setattr(db, "_transact", full_while_ballast)
        with pytest.raises(NegError) as refusal:
            await log.append(logged("a picture"), fence=Fence("j", 1))
        assert refusal.value.detail.code == "disk_full"
        assert ballast.exists()
        # In one group: the one is refused, the other stored.
        told, state = log.enqueue(logged("a picture"), fence=Fence("j", 1)), log.enqueue(logged("blocked"))
        assert isinstance((await asyncio.gather(told, return_exceptions=True))[0], NegError)
        assert await state == 1
        assert not ballast.exists()
        await store.close()

    asyncio.run(trip())


def test_an_io_error_stops_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def trip() -> None:
        seen: list[Exception] = []
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0, on_io_error=seen.append)
        log = EventLog(store)

        def fails(connection: sqlite3.Connection) -> None:
            raise sqlite_error(sqlite3.SQLITE_IOERR | 4 << 8)  # SQLITE_IOERR_FSYNC

        with pytest.raises(NegError, match="cannot be used"):
            await store.write(fails)
        assert len(seen) == 1
        with pytest.raises(NegError, match="closed"):
            await log.append(logged("after"))

    asyncio.run(trip())


def test_a_reserve_that_cannot_be_given_up_stops_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(connection: sqlite3.Connection, operations: list[db._Operation]) -> None:
        raise sqlite_error(sqlite3.SQLITE_FULL)

    def read_only(ballast: Ballast) -> bool:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def trip() -> None:
        seen: list[Exception] = []
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=4096, on_io_error=seen.append)
        monkeypatch.setattr(db, "_transact", full)
        monkeypatch.setattr(Ballast, "release", read_only)
        async with asyncio.timeout(10):
            with pytest.raises(NegError, match="cannot be used"):
                await EventLog(store).append(logged("blocked"))
        assert len(seen) == 1

    asyncio.run(trip())


EXIT_74 = """
import asyncio, sqlite3, sys
from pathlib import Path
from daemon.store.db import Store

async def main():
    store = await Store.open(Path(sys.argv[1]), ballast_bytes=0)
    def fails(connection):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error
    await store.write(fails)

asyncio.run(main())
"""


def test_an_io_error_ends_the_process_with_74(tmp_path: Path, repository: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", EXIT_74, str(tmp_path / "neg.db")], cwd=repository, capture_output=True, timeout=60)
    assert ended.returncode == 74


WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from daemon.protocol.events import Logged
from daemon.store.db import Store
from daemon.store.events import EventLog

async def main():
    store = await Store.open(Path(sys.argv[1]), ballast_bytes=0)
    log = EventLog(store)
    while True:
        futures = [log.enqueue(Logged(job_id="j", level="info", message="m" * 300)) for _ in range(5)]
        for seq in await asyncio.gather(*futures):
            print(seq, flush=True)

asyncio.run(main())
"""


def test_nothing_answered_is_lost_by_kill_9(tmp_path: Path, repository: Path) -> None:
    acknowledged = 0
    for round_number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path / "neg.db")], cwd=repository, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            for _ in range(20 + 13 * round_number):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith("\n"))])

    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        assert store.head_seq >= acknowledged
        stored = await EventLog(store).read(0, limit=10_000)
        assert [event.seq for event in stored] == list(range(1, store.head_seq + 1))
        assert await store.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchone()) == ("ok",)
        await store.close()

    asyncio.run(trip())


def test_the_log_of_writes_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "CHECKPOINT_ROWS", 100)

    async def trip() -> None:
        store = await Store.open(tmp_path / "neg.db", ballast_bytes=0)
        log = EventLog(store)
        await asyncio.gather(*(log.enqueue(logged("m" * 1000)) for _ in range(3000)))
        assert (tmp_path / "neg.db-wal").stat().st_size < 2_000_000
        await store.close()

    asyncio.run(trip())


def test_ballast_size_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ballast_bytes_configured() == 64 * 2**20
    monkeypatch.setenv("NEGTUI_BALLAST_MIB", "0.5")
    assert ballast_bytes_configured() == 2**19
