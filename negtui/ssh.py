"""A daemon on another host: the system's ssh asks where it listens, then carries both unix sockets. No port is opened anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from daemon.protocol.errors import NegError
from negtui.line import is_listening

ASK_SECONDS = 60.0
OPEN_SECONDS = 30.0
POLL_SECONDS = 0.05
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
STEADY_SECONDS = 10.0
SSH_FAILED = 255
NO_COMMAND = 127
TUNNEL_OPTIONS = (
    "-N",
    "-o", "ExitOnForwardFailure=yes",
    "-o", "ServerAliveInterval=5",
    "-o", "ServerAliveCountMax=3",
    "-o", "StreamLocalBindUnlink=yes",
    "-o", "StreamLocalBindMask=0177",
)  # fmt: skip


class RemoteEndpoints(msgspec.Struct, frozen=True):
    """What `negd endpoints --json` prints."""

    ctl: str
    blob: str
    is_running: bool
    workspace: str = ""


@dataclass(frozen=True)
class Target:
    """`ssh://[user@]host[:port][/workspace]`, taken apart."""

    host: str
    user: str | None = None
    port: int | None = None
    workspace: str | None = None

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises `NegError` `invalid` for anything else, and for names that ssh would take for options."""
        split = urlsplit(url)
        try:
            port = split.port
        except ValueError:
            port = -1
        user, host = split.username, split.hostname or ""
        plain = all(re.fullmatch(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*", part) for part in (host, user or "x"))
        if split.scheme != "ssh" or not plain or port == -1 or split.password or split.query or split.fragment:
            raise NegError("invalid", f"{url!r} is not an address of a daemon.", "Write ssh://[user@]host[:port][/workspace].")
        path = unquote(split.path)
        # ssh://host/~/work is the home's.
        workspace = path[1:] if path.startswith("/~") else path
        return cls(host, user, port, workspace.rstrip("/") or None)

    @property
    def label(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def command(self, *options: str) -> list[str]:
        """ssh to this target, with the options of `NEGTUI_SSH_OPTIONS` first."""
        chosen = shlex.split(os.environ.get("NEGTUI_SSH_OPTIONS", ""))
        port = ["-p", str(self.port)] if self.port else []
        return ["ssh", *chosen, *port, *options, "--", self.label]


@contextlib.asynccontextmanager
async def tunnel(url: str) -> AsyncIterator[tuple[str, str]]:
    """The local `ipc://` endpoints of a remote daemon's ctl and blob sockets, kept up until the end.

    Raises `NegError` in words: no ssh, host unknown or refusing, no `negd` there, no daemon running there.
    """
    if shutil.which("ssh") is None:
        raise NegError("not_found", "There is no ssh on this machine.", "Install the OpenSSH client.")
    target = Target.parse(url)
    remote = await ask_endpoints(target)
    folder = Path(tempfile.mkdtemp(prefix="negtui-ssh-"))
    keeper = asyncio.create_task(_keep_open(target, remote, folder))
    try:
        await _until_open(target, folder, keeper)
        yield f"ipc://{folder / 'ctl'}", f"ipc://{folder / 'blob'}"
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError, NegError):
            await keeper
        shutil.rmtree(folder, ignore_errors=True)


async def ask_endpoints(target: Target) -> RemoteEndpoints:
    """Run `negd endpoints --json` there. `NEGTUI_REMOTE_NEGD` names the command where it is not on the remote PATH."""
    negd = os.environ.get("NEGTUI_REMOTE_NEGD") or "negd"
    arguments = ["endpoints", "--json", *(["--workspace", target.workspace] if target.workspace else [])]
    code, output, errors = await _run([*target.command("-T"), f"{negd} {shlex.join(arguments)}"])
    if code != 0:
        raise _in_words(target, code, errors)
    try:
        found = msgspec.json.decode(output.strip().splitlines()[-1] if output.strip() else b"", type=RemoteEndpoints)
    except msgspec.MsgspecError:
        raise NegError(
            "incompatible",
            f"negd on {target.host} answered something unknown.",
            "Install the same negtui there.",
        ) from None
    if not found.is_running:
        raise NegError(
            "not_found", f"No daemon runs on {target.host} for {found.workspace}.", f"Start it: ssh {target.label} negtui daemon start"
        )
    return found


async def _run(command: Sequence[str]) -> tuple[int, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(ASK_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        raise NegError("not_found", f"ssh did not answer within {ASK_SECONDS:g} s.", "Try the same ssh by hand.", retryable=True) from None
    finally:
        await _end(process)
    return process.returncode or 0, output, errors.decode(errors="replace")


async def _keep_open(target: Target, remote: RemoteEndpoints, folder: Path) -> None:
    """Run `ssh -N -L ...` for ever, again with back-off when it dies. Raises `NegError` if it never worked."""
    forwards = [f"-L{folder / name}:{there}" for name, there in (("ctl", remote.ctl), ("blob", remote.blob))]
    delay, has_worked = FIRST_BACKOFF_SECONDS, False
    while True:
        for name in ("ctl", "blob"):
            (folder / name).unlink(missing_ok=True)
        with (folder / "errors").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *target.command(*TUNNEL_OPTIONS, *forwards), stdin=asyncio.subprocess.DEVNULL, stdout=errors, stderr=errors
            )
        try:
            while process.returncode is None and not has_worked and not _is_open(folder):
                await asyncio.sleep(POLL_SECONDS)
            has_worked = has_worked or process.returncode is None
            begun = time.monotonic()
            code = await process.wait()
            if time.monotonic() - begun > STEADY_SECONDS:
                delay = FIRST_BACKOFF_SECONDS
        finally:
            await _end(process)
        if not has_worked:
            raise _in_words(target, code, (folder / "errors").read_text(errors="replace"))
        await asyncio.sleep(delay * random.uniform(0.5, 1.5))
        delay = min(2 * delay, MAX_BACKOFF_SECONDS)


async def _until_open(target: Target, folder: Path, keeper: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            while not _is_open(folder):
                if keeper.done():
                    keeper.result()
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        message = f"The tunnel to {target.host} did not open within {OPEN_SECONDS:g} s."
        raise NegError("not_found", message, "Try again.", retryable=True) from None


def _is_open(folder: Path) -> bool:
    return all(is_listening(f"ipc://{folder / name}") for name in ("ctl", "blob"))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    await process.wait()


def _in_words(target: Target, code: int, errors: str) -> NegError:
    """What an exit code and stderr of ssh mean, for people."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {code}"
    if code == NO_COMMAND:
        return NegError("not_found", f"There is no negd on {target.host}: {last}", "Install negtui there, or set NEGTUI_REMOTE_NEGD.")
    if code != SSH_FAILED:
        return NegError("internal", f"negd on {target.host} failed: {last}", "Run it there by hand: negd endpoints")
    for sign, hint in {
        "Could not resolve": "Check the host's name.",
        "Connection refused": "Is an ssh server running there, on this port?",
        "Permission denied": "Check user and key: ssh must work by hand first.",
        "Host key verification failed": "Connect once by hand, to accept the host's key.",
        "timed out": "Is the host on, and reachable from here?",
    }.items():
        if sign in errors:
            return NegError("not_found", f"ssh cannot reach {target.label}: {last}", hint)
    return NegError("not_found", f"ssh to {target.label} failed: {last}", "Try the same ssh by hand.")
