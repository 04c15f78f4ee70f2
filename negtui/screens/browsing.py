"""The half of screen 2 that shows: the pictures in an order, filtered, one of them full screen, how many each keyword has.

What is shown is `negtui.dataset.Gallery`.
"""

from __future__ import annotations

from dataclasses import replace

from rich.text import Text
from textual.widgets import Static

from daemon.protocol.specs import ImageRecord
from negtui.curation import Filter, balance
from negtui.dataset import Gallery, balance_lines, caption, prompt_with_seed, short_caption, sign
from negtui.screens.planning import PlanningScreen
from negtui.widgets.image_grid import GridItem, ImageGrid
from negtui.widgets.image_view import ImageView, Picture
from negtui.widgets.text_form import Line, TextForm

NO_PICTURE = "There is no picture here to do that to."


class BrowsingScreen(PlanningScreen):
    """Modes: the grid, one picture (`-full`), the plan (`-planning`)."""

    def __init__(self) -> None:
        super().__init__()
        self.gallery = Gallery()
        self.pending: GridItem | None = None
        """The picture that is being painted."""
        self._items: dict[str, tuple[ImageRecord, bool, GridItem]] = {}

    @property
    def grid(self) -> ImageGrid:
        return self.query_one(ImageGrid)

    @property
    def form(self) -> TextForm:
        return self.query_one(TextForm)

    @property
    def current(self) -> ImageRecord | None:
        """The picture at the cursor."""
        shown, at = self.gallery.shown, self.grid.cursor
        return shown[at] if 0 <= at < len(shown) else None

    def show_heading(self) -> None:
        """The line above the pictures."""

    def show_shown(self) -> None:
        """Everything from the gallery: grid, caption, balance, heading. The cursor stays on its picture, or at the end."""
        gallery = self.gallery
        was_last = self.grid.cursor > 0 and self.grid.cursor == len(self.grid.items) - 1
        gallery.arrange()
        items = [self._item(record) for record in gallery.shown]
        if self.pending is not None and self.pending.key not in gallery.records and not gallery.group:
            items.insert(0 if gallery.order == "newest first" else len(items), self.pending)
        follows = was_last and len(items) > len(self.grid.items)
        self.grid.items = items
        if follows:
            self.grid.cursor = len(items) - 1
        self.set_class(not items and not gallery.records, "-empty")
        if self.has_class("-side"):
            self._show_balance()
        self.show_current()

    def show_current(self) -> None:
        """What belongs to the picture at the cursor."""
        record = self.current
        lines = caption(record) if record is not None else ["nothing matches: esc shows all"] if not self.grid.items else [""]
        self.query_one("#dataset-caption", Static).update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"))
        if self.has_class("-full"):
            self.query_one("#dataset-full", ImageView).picture = _picture(self.gallery.session, record) if record is not None else None
        self.show_heading()

    def _show_balance(self) -> None:
        lines = balance_lines(balance(self.gallery.records.values()))
        self.query_one("#dataset-balance", Static).update(Text("\n".join(lines), no_wrap=True))

    def _item(self, record: ImageRecord) -> GridItem:
        is_selected = record.id in self.gallery.selected
        known = self._items.get(record.id)
        if known is not None and known[0] is record and known[1] == is_selected:
            return known[2]
        item = GridItem(record.id, _picture(self.gallery.session, record), short_caption(record), sign(record, is_selected))
        self._items[record.id] = (record, is_selected, item)
        return item

    def on_image_grid_moved(self, event: ImageGrid.Moved) -> None:
        self.show_current()

    def on_image_grid_chosen(self, event: ImageGrid.Chosen) -> None:
        self.action_open()

    def action_open(self) -> None:
        if self.current is None and not self.has_class("-full"):
            self.negtui.say(NO_PICTURE)
            return
        self.toggle_class("-full")
        self.set_focus(None if self.has_class("-full") else self.grid)
        self.show_current()

    def action_move(self, by: int) -> None:
        self.grid.cursor += by
        self.show_current()

    def action_balance(self) -> None:
        self.toggle_class("-side")
        self._show_balance()

    def action_order(self) -> None:
        self.gallery.next_order()
        self.show_shown()

    def action_next_filter(self, name: str) -> None:
        self.gallery.group = ()
        if not self.gallery.next_filter(name):
            self.negtui.say(f"No picture here has a {name.replace('_', ' ')}.")
        self.show_shown()

    async def action_filter(self) -> None:
        await self.form.open("filter", "Only pictures with these words", (Line("text", "words", self.gallery.filter.text),))

    def action_copy(self) -> None:
        if self.current is None:
            self.negtui.say(NO_PICTURE)
            return
        self.app.copy_to_clipboard(prompt_with_seed(self.current))
        self.negtui.say("Copied: the prompt with its seed.")

    def go_back(self) -> bool:
        gallery = self.gallery
        if self.form.is_open:
            self.form.action_close()
        elif self.has_class("-planning"):
            self.close_plan()
        elif self.has_class("-full"):
            self.action_open()
        elif gallery.group:
            gallery.group = ()
        elif gallery.selected:
            gallery.selected.clear()
        elif gallery.filter != Filter():
            gallery.filter = Filter()
        else:
            return False
        self.show_shown()
        return True

    # Lines to fill in.

    def on_text_form_changed(self, event: TextForm.Changed) -> None:
        if event.form == "filter":
            self.gallery.group = ()
            self.gallery.filter = replace(self.gallery.filter, text=event.values["text"])
            self.show_shown()

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        self.form.display = False
        self.grid.focus()

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        self.grid.focus()


def _picture(session: str, record: ImageRecord) -> Picture:
    return Picture(session, record.path, record.request.width, record.request.height)
