from __future__ import annotations

import resource
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from daemon.front import memory
from daemon.protocol.errors import NegError

HUNGRY = """
import resource, sys
from daemon.front.memory import limited_memory
from daemon.worker import lift_memory_limit

def fits():
    try:
        return len(bytearray(700 * 2**20)) > 0
    except MemoryError:
        return False

before = fits()
with limited_memory():
    within = fits()
    lift_memory_limit()
    lifted = fits()
print(before, within, lifted)
"""


@pytest.fixture
def limit() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


def test_within_the_bound_nothing_bigger_fits_and_a_worker_lifts_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_FRONT_MEMORY_MIB", "512")
    ended = subprocess.run([sys.executable, "-c", HUNGRY], cwd=repository, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == ["True", "False", "True"]


def test_afterwards_it_is_as_before(limit: tuple[int, int]) -> None:
    with memory.limited_memory():
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        assert (soft <= memory.DEFAULT_MIB * 2**20, hard) == (True, limit[1])
    assert resource.getrlimit(resource.RLIMIT_DATA) == limit


def test_a_tighter_bound_stays(limit: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    with memory.limited_memory():
        monkeypatch.setenv("NEGTUI_FRONT_MEMORY_MIB", str(2 * memory.DEFAULT_MIB))
        outer = resource.getrlimit(resource.RLIMIT_DATA)
        with memory.limited_memory():
            assert resource.getrlimit(resource.RLIMIT_DATA) == outer


@pytest.mark.parametrize("text", ["", "lots", "-1", "255", "1e3", "nan", "9" * 30])
def test_a_bound_that_cannot_be_is_said(limit: tuple[int, int], monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NEGTUI_FRONT_MEMORY_MIB", text)
    with pytest.raises(NegError, match="NEGTUI_FRONT_MEMORY_MIB"), memory.limited_memory():
        pass
    assert resource.getrlimit(resource.RLIMIT_DATA) == limit


def test_the_unit_bounds_front_and_worker_and_outlives_a_worker_that_was_too_big() -> None:
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(Path(memory.__file__).with_name("negd.service").read_text())
    assert unit["Service"]["MemoryMax"] == "90%"
    assert unit["Service"]["OOMPolicy"] == "continue"
