"""Submissions not yet answered, a file each: a crash between asking and being answered loses none, for the next start asks again."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from pathlib import Path

from daemon.protocol import codec
from daemon.protocol.commands import Submit
from daemon.protocol.errors import NegError

log = logging.getLogger(__name__)


class Outbox:
    """A folder of `<key>.msgpack`. Several clients may share it: a submission sent twice is one job, its key says so."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, command: Submit) -> None:
        """Keep a submission, durably, before it is sent. Raises `OSError`."""
        self._path.mkdir(parents=True, mode=0o700, exist_ok=True)
        temporary = self._path / f".tmp-{secrets.token_hex(8)}"
        with temporary.open("xb") as file:
            file.write(codec.encode(command))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file(command.key))
        self._sync()

    def remove(self, key: str) -> None:
        """It was answered."""
        with contextlib.suppress(FileNotFoundError):
            self._file(key).unlink()
            self._sync()

    def waiting(self) -> list[Submit]:
        """What was not answered, oldest first. A file that cannot be read is set aside as `.bad`."""
        found = []
        for path in sorted(self._path.glob("*.msgpack"), key=_age):
            try:
                command = codec.decode_command(path.read_bytes())
            except FileNotFoundError:
                continue
            except NegError as error:
                log.warning("%s is set aside: %s", path, error)
                path.replace(path.with_suffix(".bad"))
                continue
            if isinstance(command, Submit):
                found.append(command)
        return found

    def _file(self, key: str) -> Path:
        return self._path / f"{key}.msgpack"

    def _sync(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
