"""A real daemon front in a process of its own, with recipes that need no engine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.config import Places, places
from negtui.client import Endpoints
from negtui.line import is_listening

ROOT = Path(__file__).resolve().parents[2]
SESSION = """
[model]
base = "toy"
"""


class FrontProcess:
    """`negd run --foreground` in its own workspace; `kill` is SIGKILL, `stop` SIGTERM."""

    def __init__(self, places: Places, environment: dict[str, str]) -> None:
        self.places = places
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.of(self.places)

    @property
    def output_path(self) -> Path:
        return self.places.workspace / "output"

    def start(self) -> None:
        with self.output_path.open("ab") as output:
            self.process = subprocess.Popen(self.command("run", "--foreground"), env=self.environment, stdout=output, stderr=output)
        until = time.monotonic() + 30
        while not is_listening(self.places.blob_endpoint) or not is_listening(self.places.ctl_endpoint):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.output_path.read_text())
            time.sleep(0.01)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "daemon.front.serve", *arguments, "--workspace", str(self.places.workspace)]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def add_session(self, name: str = "fake") -> Path:
        folder = self.places.sessions_path / name
        folder.mkdir(parents=True)
        (folder / "session.toml").write_text(SESSION)
        return folder

    def resident_bytes(self) -> int:
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def make_front(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], FrontProcess]]:
    """Makes fronts (not started yet) and ends them after the test."""
    fronts: list[FrontProcess] = []

    def make() -> FrontProcess:
        workspace = tmp_path_factory.mktemp("w")
        own = {
            "NEGTUI_RUNTIME": str(workspace / "r"),
            "NEGTUI_RECIPES": "tests.fake_recipes:RECIPES",
            "NEGTUI_BALLAST_MIB": "1",
            "NEGTUI_MIN_FREE_MIB": "1",
            "PYTHONPATH": str(ROOT),
        }
        for name, value in own.items():
            monkeypatch.setenv(name, value)
        front = FrontProcess(places(workspace), dict(os.environ))
        front.places.sessions_path.mkdir()
        fronts.append(front)
        return front

    yield make
    for front in fronts:
        if front.process is not None and front.process.poll() is None:
            front.process.kill()
            front.process.wait()


@pytest.fixture
def front(make_front: Callable[[], FrontProcess]) -> FrontProcess:
    """A running daemon with one session, `fake`."""
    front = make_front()
    front.add_session()
    front.start()
    return front
