from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual._wait import wait_for_idle
from textual.pilot import Pilot

SLICE_SECONDS = 0.01
MAX_IDLE_SECONDS = 0.1

pause = Pilot.pause


@pytest.fixture(autouse=True)
def _patient_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause lets work be done, not time go by: the loop goes round once for each of its hundredths, and until nothing is left to do.

    On a machine busy with other things all of a plain pause can pass between two turns of the loop.
    """

    async def patient(self: Pilot[None], delay: float | None = None) -> None:
        for _ in range(round((delay or 0) / SLICE_SECONDS)):
            await asyncio.sleep(SLICE_SECONDS)
        if delay is not None:
            await wait_for_idle(max_sleep=MAX_IDLE_SECONDS)
        await pause(self)

    monkeypatch.setattr(Pilot, "pause", patient)


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own configuration, daemon or workspace takes part."""
    monkeypatch.setenv("NEGTUI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("NEGTUI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "run"))
    for name in ("NEGTUI_CONNECT", "NEGTUI_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
