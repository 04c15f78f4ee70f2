"""A compositor that writes what was asked for: Textual's own writes each row from its widget's left edge up to the change.

Knows no widget. Of Textual's insides it uses `ChopsUpdate` and `Compositor.render_partial_update`, as of Textual 8.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor


class LeanUpdate(ChopsUpdate):
    """Only the cells of the spans."""

    def render_segments(self, console: Console) -> str:
        written: list[str] = []
        for y, first, last in self.spans:
            for end, (start, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                left, right = max(start, first), min(end, last)
                if strip is None or left >= right:
                    continue
                part = strip if (left, right) == (start, end) else strip.crop(left - start, right - start)
                written += (Control.move_to(left, y).segment.text, part.render(console))
        return "".join(written)


class LeanCompositor(Compositor):
    """Give it to a screen before it is mounted: `screen._compositor = LeanCompositor()`."""

    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        return None if update is None else LeanUpdate(update.chops, update.spans, update.chop_ends)
