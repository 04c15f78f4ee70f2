"""The daemon: the composition root, the only file that knows all its parts. `negd run|endpoints|--version`.

Exit codes: 0 drained, 64 wrong arguments, 69 another daemon runs here, 74 the disk under the database failed, 78 wrong settings.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zmq

from daemon import sessions
from daemon.config import Places, make_private_directory, places
from daemon.front import systemd
from daemon.front.blobs import Blobs
from daemon.front.flow import Flow
from daemon.front.handlers import Front
from daemon.front.lock import Lock
from daemon.front.logs import MAX_LOG_BYTES, set_up_logging
from daemon.front.memory import limited_memory
from daemon.front.peers import Limits
from daemon.front.router import Router
from daemon.front.sockets import is_listening
from daemon.front.telemetry import find_gpu, tell_gauges
from daemon.front.watch import Watch
from daemon.jobs.local import LocalExecutor
from daemon.jobs.queue import JobQueue
from daemon.jobs.scheduler import Scheduler
from daemon.protocol.commands import GetBlob
from daemon.protocol.errors import NegError
from daemon.sessions import removing
from daemon.store.db import Store
from daemon.store.events import EventLog
from daemon.store.jobs import in_states

EXIT_USAGE = 64
EXIT_ANOTHER_RUNS = 69
EXIT_SETTINGS = 78
HOUSE_SECONDS = 5.0
LAG_SECONDS = 0.25

log = logging.getLogger("negd")


class Daemon:
    """All parts of one daemon. `run` returns once it was asked to stop and everything is put away."""

    @classmethod
    async def serve(cls, places: Places, lock: Lock) -> None:
        """Make a daemon in the running loop and run it."""
        await cls(places, lock).run()

    def __init__(self, places: Places, lock: Lock, limits: Limits | None = None) -> None:
        self.places = places
        self.boot_id = secrets.token_hex(16)
        self._lock = lock
        self._limits = limits or Limits()
        self._stop = asyncio.Event()
        self._lag = 0.0
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Ask it to drain and end."""
        if not self._stop.is_set():
            log.info("Draining: running jobs stop at their next step.")
        self._stop.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`. Raises `NegError` where the store cannot be opened."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        async with contextlib.AsyncExitStack() as stack:
            store = await Store.open(self.places.database_path)
            stack.push_async_callback(store.close)
            await self._serve(store, stack)
            systemd.notify("STOPPING=1")
        log.info("Stopped.")

    async def _serve(self, store: Store, stack: contextlib.AsyncExitStack) -> None:
        places = self.places
        events = EventLog(store)
        queue = JobQueue(store, events, places.sessions_path)
        executor = LocalExecutor(places.state_path / "worker.log", places.state_path / "cache")
        scheduler = Scheduler(queue, executor, on_failure=self._fail)
        flow = Flow(events.read, lambda: ctl.peers, lambda peer, frames: ctl.send(peer, frames))
        flow.advance(events.head_seq)
        front = self._front(store, events, queue, flow, scheduler)
        context = zmq.Context()
        stack.callback(context.destroy, linger=0)
        ctl = Router(
            context,
            places.runtime_path / "ctl",
            front.table(),
            self._limits,
            on_room=flow.wake,
            on_left=lambda peer: scheduler.watch_previews(flow.previews_wanted),
        )
        blob = Router(context, places.runtime_path / "blob", {GetBlob: Blobs(places.sessions_path).get}, self._limits)
        watch = Watch(
            places.sessions_path, lambda name: sessions.read(places.sessions_path, name), events.append, lambda: _busy_sessions(store)
        )
        events.add_listener(flow.advance)
        scheduler.add_ephemeral_listener(flow.tell)
        leftovers = await asyncio.to_thread(removing.leftovers, places.sessions_path)
        await scheduler.start()
        for router in (blob, ctl):
            router.open()
            stack.push_async_callback(router.close)
        stack.callback(flow.close)
        parts = {
            "events": flow.run(),
            "sessions": watch.run(),
            "gauges": tell_gauges(find_gpu, flow.tell, lambda: flow.is_watched),
            "lag": self._measure_lag(),
            "leftovers": _remove(leftovers),
            "house": self._keep_house((ctl, blob)),
            "watchdog": systemd.feed_watchdog(lambda: store.read(lambda connection: connection.execute("SELECT 1").fetchone())),
        }
        tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
        stack.push_async_callback(_cancel, tasks)
        systemd.notify("READY=1")
        log.info("Serving %s at %s (process %d).", places.workspace, places.runtime_path, os.getpid())
        await self._until_stopped(tasks)
        await scheduler.close()
        if self._failure is not None:
            raise self._failure
        # Those who asked for the end, or watch it, get their last events.
        await asyncio.sleep(0.1)

    def _front(self, store: Store, events: EventLog, queue: JobQueue, flow: Flow, scheduler: Scheduler) -> Front:
        return Front(
            boot_id=self.boot_id,
            store_id=store.store_id,
            pid=os.getpid(),
            sessions_path=self.places.sessions_path,
            limits=self._limits,
            queue=queue,
            log=events,
            flow=flow,
            workers=scheduler.workers,
            order=scheduler.order,
            residents=scheduler.residents,
            hold=scheduler.hold,
            watch_previews=scheduler.watch_previews,
            drain=self.stop,
            lag=lambda: self._lag,
        )

    async def _until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for `stop`; a part that fails ends the daemon, and is raised."""
        stopped = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Task[Any]] = {stopped, *tasks}
        try:
            while stopped in waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            stopped.cancel()

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag = max(loop.time() - due, 0.0)

    async def _keep_house(self, routers: Sequence[Router]) -> None:
        """Keep the lock and the sockets where they belong, though somebody cleans up the folder they are in."""
        while True:
            await asyncio.sleep(HOUSE_SECONDS)
            make_private_directory(self.places.runtime_path)
            self._lock.ensure_held()
            for router in routers:
                router.ensure_bound()


async def _remove(leftovers: Sequence[Path]) -> None:
    """Away with what an earlier daemon left half made or half removed."""
    for path in leftovers:
        try:
            await asyncio.to_thread(removing.remove, path)
        except OSError as error:
            log.warning("%s could not be removed: %s", path, error)


async def _busy_sessions(store: Store) -> set[str]:
    running = await store.read(lambda connection: in_states(connection, "running", "pausing"))
    return {job.row.spec.session for job in running}


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `negd`."""
    parser = argparse.ArgumentParser(prog="negd", description="The negtui daemon: keeps models resident, runs jobs, answers clients.")
    parser.add_argument("command", nargs="?", choices=("run", "endpoints"), default="run", help="run (default), or tell where one listens")
    parser.add_argument("--workspace", metavar="PATH", help="the folder with sessions/ (default: NEGTUI_WORKSPACE, or the user's own)")
    parser.add_argument("--foreground", action="store_true", help="log to the terminal instead of the log file")
    parser.add_argument("--json", action="store_true", help="endpoints: as JSON")
    parser.add_argument("--version", action="version", version=f"negd {version('negtui')}")
    try:
        chosen = parser.parse_args(arguments)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else 0
    try:
        found = places(chosen.workspace)
        if chosen.command == "endpoints":
            return tell_endpoints(found, as_json=chosen.json)
        return run(found, on_terminal=chosen.foreground)
    except NegError as error:
        print(f"negd: {error}", file=sys.stderr)
        return EXIT_ANOTHER_RUNS if error.detail.code == "busy" else EXIT_SETTINGS


def run(places: Places, *, on_terminal: bool) -> int:
    """Serve until told to stop; the exit code. Raises `NegError` for wrong settings, `busy` where another daemon runs here."""
    os.umask(0o077)
    lock = _prepare(places, on_terminal=on_terminal)
    try:
        with limited_memory():
            asyncio.run(Daemon.serve(places, lock))
    except NegError as error:
        log.critical("%s", error)
        raise
    except Exception:
        log.critical("The daemon failed.", exc_info=True)
        raise
    finally:
        lock.release()
    return 0


def _prepare(places: Places, *, on_terminal: bool) -> Lock:
    """Make the folders, take the lock, begin the log."""
    try:
        make_private_directory(places.runtime_path)
        lock = Lock(places.lock_path)
        places.sessions_path.mkdir(parents=True, exist_ok=True)
        places.state_path.mkdir(parents=True, exist_ok=True)
        keep_small(places.state_path / "worker.log")
        set_up_logging(places.log_path, on_terminal=on_terminal)
    except OSError as error:
        hint = "Name folders of your own: --workspace, NEGTUI_STATE, NEGTUI_RUNTIME."
        raise NegError("invalid", f"{error.filename} cannot be used: {error.strerror}.", hint) from None
    return lock


def tell_endpoints(places: Places, *, as_json: bool) -> int:
    """Print where the daemon of `places` listens, or would."""
    found = {
        "ctl": places.ctl_endpoint.removeprefix("ipc://"),
        "blob": places.blob_endpoint.removeprefix("ipc://"),
        "sessions_path": str(places.sessions_path),
        "workspace": str(places.workspace),
        "is_running": is_listening(places.runtime_path / "ctl"),
        "version": version("negtui"),
    }
    print(json.dumps(found) if as_json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0


def keep_small(path: Path) -> None:
    """Move a log that has grown too long aside; workers only append."""
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))


if __name__ == "__main__":
    sys.exit(main())
