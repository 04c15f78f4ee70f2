"""Screens as text, compared to files: what a person would read, row by row, without colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from textual.app import App

FOLDER = Path(__file__).parent / "files"
SIZES = ((80, 24), (120, 40), (200, 60))


def text_of(app: App[Any]) -> str:
    """What the app shows now: a line a row, spaces at the ends left out."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


def matches(name: str, text: str) -> bool:
    """Whether `text` is the snapshot `files/<name>.txt`; SNAPSHOTS=write writes it."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.is_file() and path.read_text(encoding="utf-8") == text
