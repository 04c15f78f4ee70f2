from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver

from negtui.lending import lent
from tests.curation_daemon import in_loop


@pytest.fixture(autouse=True)
def _lendable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadlessDriver, "can_suspend", property(lambda self: True))


@in_loop
async def test_ctrl_c_is_for_the_other_program_and_the_dashboard_stays() -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:
        before = signal.getsignal(signal.SIGINT)
        with lent(app):
            os.kill(os.getpid(), signal.SIGINT)
            waits = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
            assert subprocess.call([sys.executable, "-c", waits], stderr=subprocess.DEVNULL) == -signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is before
        await pilot.pause(0.1)
        assert app.is_running


@in_loop
async def test_what_fails_meanwhile_leaves_ctrl_c_as_it_was() -> None:
    app: App[None] = App()
    async with app.run_test():
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(OSError, match="gone"), lent(app):
            raise OSError("gone")
        assert signal.getsignal(signal.SIGINT) is before
