"""Pictures of the six screens on a real daemon, of a real run of the toy: `make screenshots` writes docs/screens/.

The first time the toy's three acts are run in `--workspace`, which takes minutes; then everything is there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["COLORTERM"] = "truecolor"
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ.pop("NO_COLOR", None)

from textual.pilot import Pilot

from negtui import cli
from negtui.app import NegtuiApp
from negtui.commands.dashboard import connect_as
from negtui.config import Settings
from negtui.pixels.base import Choice
from negtui.wording import act
from tests.snapshots.drawing import picture_of, save

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = (120, 36)
SETTINGS = (
    "training.validation_images=4",
    "training.validation_steps=25",
    'training.sample_prompts=["a red circle on a white background", "two blue stars on a black background"]',
    "training.sample_steps=50",
    "comparison.num_prompts=16",
)
"""Besides the template: what fills the curves and the samples."""
WAIT_SECONDS = 300.0


def prepare(workspace: Path) -> None:
    """A session `toy` with its three acts done, and `second`, whose acts wait."""
    sessions = workspace / "sessions"
    if not (sessions / "toy" / "session.toml").is_file():
        command(workspace, "new", "toy", "--template", "toy")
        command(workspace, "set", "toy", *SETTINGS)
    if not (sessions / "toy" / "comparisons" / "default" / "report.html").is_file():
        command(workspace, "run", "toy")
    if not (sessions / "second" / "session.toml").is_file():
        command(
            workspace, "new", "second", "--template", "toy", "--set", "training.rank=8", "--set", "synthesis.seeds=[1, 2, 3, 4, 5, 6, 7]"
        )


def command(workspace: Path, *words: str) -> None:
    code = cli.main(["--workspace", str(workspace), *words])
    if code:
        raise SystemExit(code)


async def until(pilot: Pilot[None], is_so: Callable[[], bool]) -> None:
    """Wait until it is so, and then until all is drawn."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not is_so():
            await pilot.pause(0.2)
    await pilot.pause(3.0)


async def shoot(workspace: Path, folder: Path) -> None:
    """Walk through the screens by their keys; the acts of `second` run for the screens of jobs and GPU and are cancelled."""
    app = NegtuiApp(connect_as(Settings(workspace=str(workspace))), choice=Choice(backend="half", available=("half", "off")))
    async with app.run_test(size=SIZE) as pilot:

        async def picture(number: int, *keys: str) -> None:
            await pilot.press(str(number), *keys)
            await pilot.pause(4.0)
            app.clear_notifications()
            await pilot.pause(0.5)
            name = app.screen_in_front.SCOPE if app.screen_in_front else ""
            save(picture_of(app), folder / f"{name}.png")

        await until(pilot, lambda: "toy" in app.view.sessions)
        await pilot.press(*["k"] * 5, *(["j"] * sorted(app.view.sessions).index("toy")), "enter")
        await picture(1)
        await picture(2, *"lxlxlllx")
        await pilot.press("u", "u", "u")
        await picture(3, "tab", "s", *["h"] * 20)
        await picture(4, "j", "l", "l", "e")
        await pilot.press("1", *["k"] * 5, *(["j"] * sorted(app.view.sessions).index("second")), "r")
        await until(pilot, lambda: any(one.image_index for one in app.view.progress.values()))
        await picture(5)
        await until(pilot, lambda: any(one.parts for one in app.view.residents.values()))
        await picture(6)
    for row in sorted(app.view.jobs.values(), key=lambda row: act(row.spec), reverse=True):
        if row.spec.session == "second" and row.state not in ("done", "cancelled"):
            await asyncio.to_thread(command, workspace, "cancel", row.id)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=REPOSITORY / ".negtui" / "screenshots")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "docs" / "screens")
    arguments = parser.parse_args()
    arguments.workspace.mkdir(parents=True, exist_ok=True)
    prepare(arguments.workspace)
    asyncio.run(shoot(arguments.workspace, arguments.folder))
    command(arguments.workspace, "daemon", "stop")
    return 0


if __name__ == "__main__":
    sys.exit(main())
