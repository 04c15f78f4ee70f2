"""Workers as processes of this machine: `python -m daemon.worker` over a socketpair. Knows the link, not the worker's insides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import daemon
from daemon.failures import EXIT_CUDA, EXIT_UNFIT
from daemon.jobs.executor import WorkerLost
from daemon.protocol import link
from daemon.protocol.errors import NegError
from daemon.protocol.link import FromWorker, StopWorker, ToWorker

TERMINATE_SECONDS = 5.0
DUMP_SECONDS = 0.5
EXITS = {EXIT_CUDA: "met a CUDA error it cannot recover from", EXIT_UNFIT: "lost a process that trained with it"}


class LocalWorker:
    """One worker process and the front's end of its line."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log_path: Path
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._log_path = log_path
        self._length: int | None = None
        self._why = ""
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # A thread of its own: pidfd is not everywhere, and the default executor would wait for it at exit.
        threading.Thread(target=self._wait, args=(asyncio.get_running_loop(),), name=f"wait-{process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: ToWorker) -> None:
        """Put a message on the line; a lost worker is noticed by `receive`."""
        if not self._writer.is_closing():
            self._writer.write(link.pack(message))

    async def receive(self) -> FromWorker:
        """The next message; safe to cancel. Raises `WorkerLost` after the last one."""
        try:
            if self._length is None:
                self._length = link.unpack_length(await self._reader.readexactly(link.PREFIX_BYTES))
            body = await self._reader.readexactly(self._length)
            self._length = None
            return link.unpack_from_worker(body)
        except NegError as error:
            self._why = f"sent something unreadable: {error}"
            await self._kill()
        except (asyncio.IncompleteReadError, OSError):
            await self._leave()
        raise WorkerLost(self._evidence(await asyncio.shield(self._exit))) from None

    async def end(self, *, dump: bool = False) -> None:
        """SIGUSR1 for its stacks, SIGTERM, SIGKILL after 5 s. `receive` raises `WorkerLost` afterwards."""
        if dump:
            self._signal(signal.SIGUSR1)
            await self._exited(DUMP_SECONDS)
        self._signal(signal.SIGTERM)
        if not await self._exited(TERMINATE_SECONDS):
            await self._kill()

    async def stop(self, seconds: float) -> None:
        """Ask it to leave; after `seconds`, `end` it."""
        self.send(StopWorker())
        if not await self._exited(seconds):
            await self.end()
        await self._close()

    async def _leave(self) -> None:
        # The line is closed: a worker that still lives has nobody to work for.
        if not await self._exited(1.0):
            await self._kill()
        await self._close()

    async def _kill(self) -> None:
        if not self._exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.shield(self._exit)
        await self._close()

    async def _close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _exited(self, seconds: float) -> bool:
        done, _ = await asyncio.wait({self._exit}, timeout=seconds)
        return bool(done)

    def _signal(self, number: int) -> None:
        if not self._exit.done():
            self._process.send_signal(number)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._note_exit, code)

    def _note_exit(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)

    def _evidence(self, code: int) -> str:
        words = self._why or _exit_in_words(code)
        return f"{words} (log: {self._log_path})"


class LocalExecutor:
    """Starts local workers: one for each entry of `devices`, a `CUDA_VISIBLE_DEVICES` value or None to leave that as it is."""

    def __init__(
        self,
        log_path: Path,
        cache_path: Path,
        *,
        devices: Mapping[str, str | None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log_path = log_path
        self._cache_path = cache_path
        self._devices = {"worker": None} if devices is None else dict(devices)
        self._environment = dict(environment or {})

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._devices)

    async def start(self, name: str) -> LocalWorker:
        """Start a worker process; raises `OSError`."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = self._popen(name, theirs.fileno())
            ours.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        return LocalWorker(process, reader, writer, self._log_path)

    def _popen(self, name: str, descriptor: int) -> subprocess.Popen[bytes]:
        environment = dict(os.environ) | self._environment
        root = str(Path(daemon.__file__).resolve().parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
        device = self._devices[name]
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "daemon.worker", "--fd", str(descriptor), "--cache", str(self._cache_path)],
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )


def _exit_in_words(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"
    return EXITS.get(code, "left") + f" (exit code {code})"
