"""The part of screen 4 that moves: the cursor over blocks and arms, the figures beside the pictures or alone on a narrow screen."""

from __future__ import annotations

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from negtui import comparing
from negtui.output import clean
from negtui.screens.blocks import BlocksScreen
from negtui.widgets.arm_grid import ArmGrid

PANEL_WIDTH = 47
"""Cells of a line of figures beside the pictures."""


class FiguresScreen(BlocksScreen):
    """Subclasses compose an `ArmGrid` and, in `#compare-effects`, a `#compare-figures`; the class `-effects` says that these are shown."""

    def show_figures(self) -> None:
        """Those of the block at the cursor, then the effects of the whole comparison."""
        if self.has_class("-effects") and self.looking.answer is not None:
            width = self.size.width - 4 if self.has_class("-narrow") else PANEL_WIDTH
            lines = [*comparing.value_lines(self.looking, width), "", *comparing.effect_lines(self.looking.answer)]
            self.query_one("#compare-figures", Static).update(Text(clean("\n".join(lines)).strip()))

    @property
    def figures_alone(self) -> VerticalScroll | None:
        """The figures, where they take the whole screen: then the keys of the blocks move them."""
        is_alone = self.has_class("-effects") and self.has_class("-narrow")
        return self.query_one("#compare-effects", VerticalScroll) if is_alone else None

    def action_move(self, across: int, down: int) -> None:
        if self.figures_alone is not None:
            self.figures_alone.scroll_relative(y=down, animate=False)
            return
        if self.has_class("-block") and self.looking.zoom:
            self.looking.look(across, down)
        else:
            self.looking.move(across, down)
        self._moved()

    def action_page(self, by: int) -> None:
        if self.figures_alone is not None:
            self.figures_alone.scroll_relative(y=by * self.figures_alone.size.height, animate=False)
            return
        self.looking.move(0, by * (1 if self.has_class("-block") else self.query_one(ArmGrid).page_size))
        self._moved()

    def action_end(self, by: int) -> None:
        if self.figures_alone is not None:
            self.figures_alone.scroll_to(y=0 if by < 0 else self.figures_alone.max_scroll_y, animate=False)
            return
        self.looking.move(0, by * len(self.looking.blocks))
        self._moved()

    def _moved(self) -> None:
        if self.has_class("-block"):
            self.show_at()
        else:
            self.show_looking()

    def action_effects(self) -> None:
        if self.has_class("-effects") or self.has_block():
            self.toggle_class("-effects")
            self.show_at()
            self.call_after_refresh(self.show_looking)

    def action_figures(self, by: int) -> None:
        if self.has_class("-effects"):
            panel = self.query_one("#compare-effects", VerticalScroll)
            panel.scroll_relative(y=by * max(1, panel.size.height - 2), animate=False)
        else:
            self.negtui.say("e shows the metrics.")
