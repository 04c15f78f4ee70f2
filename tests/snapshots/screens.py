"""Screens as text, compared to files: what a person would read, row by row, and below it how each letter looks.

`make snapshots` writes all of them; look at what changed before it is committed.
"""

from __future__ import annotations

import os
import string
from collections import Counter
from pathlib import Path
from typing import Any

from rich.style import Style
from textual.app import App
from textual.pilot import Pilot

FOLDER = Path(__file__).parent / "files"
SIZES = ((80, 24), (120, 40), (200, 60))


def text_of(app: App[Any]) -> str:
    """What the app shows now: a line a row, spaces at the ends left out."""
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips(app)) + "\n"


def snapshot_of(app: App[Any]) -> str:
    """The whole screen, then a map of its styles: a letter for each, nothing for the commonest; what they are stands at the end."""
    rows = [[(character, _look(segment.style)) for segment in strip for character in segment.text] for strip in strips(app)]
    looks = Counter(look for row in rows for character, look in row if _is_letter(character))
    plain = looks.most_common(1)[0][0]
    names = dict.fromkeys(look for row in rows for character, look in row if _is_letter(character) and look != plain)
    letters = dict(zip(names, string.ascii_letters + string.digits, strict=False))
    mapped = "\n".join("".join(letters.get(look, " ") if _is_letter(one) else " " for one, look in row).rstrip() for row in rows)
    legend = "\n".join(f"{name} {look}" for look, name in [(plain, " "), *letters.items()])
    return f"{text_of(app)}{'-' * app.size.width}\n{mapped}\n{'-' * app.size.width}\n{legend}\n"


async def settled(pilot: Pilot[Any]) -> str:
    """`snapshot_of` once no worker of a screen or widget goes on, no picture is fetched, and nothing changes any more."""
    before, num_still = "", 0
    for _ in range(600):
        await pilot.pause(0.05)
        goes_on = any(worker.is_running for worker in pilot.app.workers if worker.name != "bridge") or pilot.app.pictures._running  # type: ignore[attr-defined]
        now = snapshot_of(pilot.app)
        num_still = num_still + 1 if now == before and not goes_on else 0
        if num_still == 6:
            return now
        before = now
    raise AssertionError(f"The screen never came to rest:\n{before}")


def strips(app: App[Any]) -> Any:
    """The rows of the screen, as they are painted."""
    return app.screen._compositor.render_strips()


def _is_letter(character: str) -> bool:
    """Whether a cell is text: pictures are told by their pixels, elsewhere."""
    return character not in " \u2580"


def _look(style: Style | None) -> str:
    """`bold #e0e0e0 on #24313a`: links and metadata left out."""
    if style is None:
        return "none"
    return str(
        Style(color=style.color, bgcolor=style.bgcolor, bold=style.bold, dim=style.dim, reverse=style.reverse, underline=style.underline)
    )


def matches(name: str, text: str) -> bool:
    """Whether `text` is the snapshot `files/<name>.txt`; SNAPSHOTS=write writes it."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.is_file() and path.read_text(encoding="utf-8") == text
