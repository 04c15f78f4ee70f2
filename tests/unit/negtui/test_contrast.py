"""Every letter stands out from what is behind it, in light themes as in dark ones."""

from __future__ import annotations

from typing import Any

import pytest
from rich.style import Style
from textual.app import App
from textual.color import Color

from daemon.protocol.events import Logged, StepProgress
from negtui.app import NegtuiApp
from tests.curation_daemon import in_loop
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.snapshots.screens import settled, strips
from tests.training_daemon import TrainingDaemon, curve, samples
from tests.unit.negtui.screens.test_jobs import queued

MIN_CONTRAST = 3.0
"""Of WCAG 2 for large text and signs; what is less important is meant to be paler."""
DRAWN = "▀│─┃━┤▌▐█▎▊▔▁"


def pale(app: App[Any]) -> set[str]:
    """Words whose colour is too close to the one behind them."""
    found = set()
    for strip in strips(app):
        for text, style, _ in strip:
            words = text.strip(DRAWN + " ")
            if words and style is not None and contrast(style) < MIN_CONTRAST:
                found.add(f"{words}: {contrast(style):.2f}, {style}")
    return found


def contrast(style: Style) -> float:
    """The ratio of WCAG 2: 1 (the same colour) to 21 (black on white)."""
    if style.color is None or style.bgcolor is None or style.color.triplet is None or style.bgcolor.triplet is None:
        return 21.0
    lightness = sorted(_luminance(Color(*colour)) for colour in (style.color.triplet, style.bgcolor.triplet))
    return (lightness[1] + 0.05) / (lightness[0] + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def trained() -> FakeClient:
    """A run with an older one, curves, samples and a log of every level."""
    client = FakeClient(TrainingDaemon())
    for number, state in enumerate(("done", "running")):
        row = client.daemon.add(JOBS["train"], state, id=f"run{number}")  # type: ignore[arg-type]
        client.daemon.log += [curve(row, 10, loss=1.0 + number, held_out_loss=2.0), samples(row, 4)]
        client.daemon.log += [Logged(job_id=row.id, level=level, message=f"a {level}") for level in ("info", "warning", "error")]
    return client


@pytest.mark.parametrize("theme", ["textual-light", "textual-dark"])
@pytest.mark.parametrize("name", ["train", "jobs"])
@in_loop
async def test_every_letter_can_be_read(name: str, theme: str) -> None:
    client = trained() if name == "train" else queued()
    app = NegtuiApp(client.connect, start=name, theme=theme)
    async with app.run_test(size=(140, 45)) as pilot:
        await settled(pilot)
        client.tell(StepProgress(job_id="run1" if name == "train" else "one", phase="train", step=3, num_steps=10))
        if name == "train":
            await pilot.press("v", "tab", "left")
        await settled(pilot)
        assert pale(app) == set()
