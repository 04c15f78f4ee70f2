"""Every key of the table, each by every name it has, is pressed where it works: its action comes to whom it belongs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.dom import DOMNode
from textual.pilot import Pilot

from daemon.protocol.voting import RoundSpec
from negtui.app import NegtuiApp
from negtui.keys import KEYS
from negtui.voting import Voting
from negtui.widgets.curve_grid import CurveGrid
from negtui.widgets.image_grid import ImageGrid
from negtui.widgets.log_pane import LogPane
from negtui.widgets.sample_strip import SampleStrip
from negtui.widgets.spec_form import OptionRows
from tests.curation_daemon import client, in_loop, press
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.training_daemon import TrainingDaemon
from tests.voting_daemon import VotingDaemon
from tests.voting_daemon import client as voting_client

Prepare = Callable[[Pilot[None]], Awaitable[None]]


def keys(*pressed: str) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        await press(pilot, *pressed)

    return prepare


def on(widget: type[Any]) -> Prepare:
    async def prepare(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one(widget).focus()
        await pilot.pause(0.1)

    return prepare


SCENES: dict[str, tuple[str, Prepare]] = {
    "app": ("jobs", keys()),
    "sessions": ("sessions", keys()),
    "dataset": ("dataset", keys("enter")),
    "train": ("train", on(OptionRows)),
    "compare": ("compare", keys()),
    "vote": ("vote", keys()),
    "jobs": ("jobs", keys()),
    "gpu": ("gpu", keys()),
    "grid": ("dataset", on(ImageGrid)),
    "chart": ("train", on(CurveGrid)),
    "form": ("train", on(OptionRows)),
    "samples": ("train", on(SampleStrip)),
    "fields": ("sessions", keys("n")),
    "plan": ("dataset", keys("e")),
    "table": ("sessions", keys()),
    "log": ("jobs", on(LogPane)),
    "help": ("jobs", keys("question_mark")),
}
"""By scope: the screen where its keys work, and what has to be done there before."""


def opened(screen: str, folder: Path) -> NegtuiApp:
    if screen == "vote":
        asked = Voting("toy", "default", "me", RoundSpec(num_trials=1, repeat_share=0))
        return NegtuiApp(voting_client(VotingDaemon(folder)).connect, voting=asked)
    found = FakeClient(TrainingDaemon()) if screen == "train" else client()
    for _ in range(60):  # more than there is room for
        found.daemon.add(JOBS["compare"], "done")
    return NegtuiApp(found.connect, start=screen)


def test_every_scope_that_has_keys_has_a_scene() -> None:
    assert set(SCENES) == {scope for scope, keys in KEYS.items() if keys}


@pytest.mark.parametrize("scope", SCENES)
@in_loop
async def test_every_key_comes_to_its_action(scope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, prepare = SCENES[scope]
    heard: list[tuple[str, set[str | None]]] = []
    run_action = NegtuiApp.run_action

    async def note(app: NegtuiApp, action: str, default_namespace: DOMNode) -> bool:
        """What a key would do, and whose it is; it is not done. Textual's own keys are passed over where they do nothing."""
        bound = default_namespace._bindings.key_to_bindings.values()
        ids = {binding.id for bindings in bound for binding in bindings if binding.action == action}
        if ids == {None} and not await run_action(app, action, default_namespace):
            return False
        heard.append((action, ids))
        return True

    async with opened(screen, tmp_path).run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.4)
        await prepare(pilot)
        with monkeypatch.context() as patch:
            patch.setattr(NegtuiApp, "run_action", note)
            for key in KEYS[scope]:
                for name in key.key.split(","):
                    heard.clear()
                    await pilot.press(name)
                    for _ in range(100):
                        if heard:
                            break
                        await pilot.pause(0.02)
                    assert heard, f"{key.id}: nothing comes of {name}"
                    action, ids = heard[0]
                    assert (action, key.id in ids) == (key.action, True), f"{key.id}: {name} does {action} of {ids}"
