"""Where units run. The scheduler knows only this: local processes today, other machines later."""

from __future__ import annotations

from typing import Protocol

from daemon.protocol.link import FromWorker, ToWorker


class WorkerLost(Exception):
    """The worker is gone; the message says how, for people."""


class Worker(Protocol):
    """One living worker process."""

    @property
    def pid(self) -> int:
        """Its process id on its machine."""

    def send(self, message: ToWorker) -> None:
        """Put a message on the line; a lost worker is noticed by `receive`, never here."""

    async def receive(self) -> FromWorker:
        """The next message. Raises `WorkerLost` once it ended, was ended, or talks nonsense; all it said before comes first."""

    async def end(self, *, dump: bool = False) -> None:
        """Make it end whatever it does: with `dump`, its stacks go to the log first. Returns when it is gone."""

    async def stop(self, seconds: float) -> None:
        """Ask it to leave between units; `end` it after so many seconds."""


class Executor(Protocol):
    """Starts workers by name. One name is one device."""

    @property
    def names(self) -> tuple[str, ...]:
        """The workers it can keep running side by side."""

    async def start(self, name: str) -> Worker:
        """Start a worker. Raises `OSError` where the process cannot be started."""
