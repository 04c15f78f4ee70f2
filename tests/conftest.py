"""What every test gets: a home, state and sockets of its own, and one torch thread."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from negtui import launch

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

# What is started in the background inherits that SIGINT is ignored, and would hand it on to what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("negtui", deadline=None, print_blob=True)
settings.load_profile("negtui")


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's own workspace, state or cache."""
    for name in [name for name in os.environ if name.startswith("NEGTUI_") and name != "NEGTUI_TEST_SEED"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))


@pytest.fixture(autouse=True, scope="session")
def no_daemon_is_left() -> Iterator[None]:
    """Those that a client started here end with the tests."""
    yield
    for process in launch._started:
        process.kill()
        process.wait()


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]
