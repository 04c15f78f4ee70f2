"""The half of screen 2 that chooses among pictures: filters, marks with undo, full screen.

What is shown and marked is `negtui.dataset.Gallery`. A mark is seen at once, then sent, and taken back where the daemon refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rich.text import Text
from textual.widgets import Static

from daemon.protocol.commands import MarkImages, RestoreMarks, WantedMark
from daemon.protocol.errors import NegError
from daemon.protocol.events import Mark
from daemon.protocol.specs import ImageRecord, Status
from negtui.curation import Decision, Filter, balance, read_tags
from negtui.dataset import Gallery, balance_lines, caption, prompt_with_seed, short_caption, sign
from negtui.output import quantity
from negtui.screens.beside import beside
from negtui.screens.planning import PlanningScreen
from negtui.widgets.image_grid import GridItem, ImageGrid
from negtui.widgets.image_view import ImageView, Picture
from negtui.widgets.text_form import Line, TextForm

MAX_MARKED = 1000
"""Pictures in one command."""


class CuratingScreen(PlanningScreen):
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

    # What is shown.

    def show_shown(self) -> None:
        """Everything from the gallery: grid, caption, balance, heading. The cursor stays on its picture, or at the end."""
        gallery = self.gallery
        was_last = self.grid.cursor > 0 and self.grid.cursor == len(self.grid.items) - 1
        gallery.arrange()
        items = [self._item(record) for record in gallery.shown]
        if self.pending is not None and self.pending.key not in gallery.records and not gallery.group:
            items.append(self.pending)
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
        if self.current is not None or self.has_class("-full"):
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
        self.gallery.not_bad_first = not self.gallery.not_bad_first
        self.show_shown()

    def action_next_filter(self, name: str) -> None:
        self.gallery.group = ()
        self.gallery.next_filter(name)
        self.show_shown()

    async def action_filter(self) -> None:
        await self.form.open("filter", "Only pictures with these words", (Line("text", "words", self.gallery.filter.text),))

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

    # Marks.

    def action_select(self) -> None:
        if self.current is not None:
            self.gallery.selected ^= {self.current.id}
            self.show_shown()
            self.action_move(1)

    def action_select_all(self) -> None:
        self.gallery.selected = {record.id for record in self.gallery.shown}
        self.show_shown()

    def action_mark(self, status: Status) -> None:
        self._decide(Decision(self._chosen(), status=status))

    async def action_tag(self) -> None:
        chosen = self._chosen()
        if chosen:
            await self.form.open(
                "tag", f"Tags for {quantity(len(chosen), 'picture')}", (Line("tags", "tags", hint="words; -word takes one off"),)
            )

    def action_undo(self) -> None:
        step = self.gallery.history.undo() if self._may_mark() else None
        if step is not None:
            self._restore(step.before, f"Undone: {step.words}.")

    def action_redo(self) -> None:
        step = self.gallery.history.redo() if self._may_mark() else None
        if step is not None:
            self._restore(step.after, f"Done again: {step.words}.")

    def action_copy(self) -> None:
        if self.current is not None:
            self.app.copy_to_clipboard(prompt_with_seed(self.current))
            self.negtui.say("Copied: the prompt with its seed.")

    def _chosen(self) -> tuple[str, ...]:
        return self.gallery.chosen(self.current.id if self.current is not None else None)

    def _may_mark(self) -> bool:
        if self.negtui.read_only:
            self.negtui.say("Opened with --read-only: nothing is changed from here.", "warning")
        return not self.negtui.read_only

    def _decide(self, decision: Decision) -> None:
        """Show it, go on to the next picture, send it."""
        if not decision.ids or not self._may_mark():
            return
        record, was_single = self.current, not self.gallery.selected
        step = self.gallery.decide(decision)
        self.gallery.selected.clear()
        self.show_shown()
        if was_single and record is not None and self.current is not None and self.current.id == record.id:
            self.action_move(1)
        if step.after:
            beside(self, partial(self._send, self.gallery, decision, step.before), "marks", exclusive=False)

    async def _send(self, gallery: Gallery, decision: Decision, before: tuple[Mark, ...]) -> None:
        for start in range(0, len(decision.ids), MAX_MARKED):
            part = decision.ids[start : start + MAX_MARKED]
            answer = await self.negtui.ask(
                MarkImages(
                    session=gallery.session,
                    folder=gallery.folder,
                    ids=part,
                    status=decision.status,
                    add_tags=decision.add_tags,
                    remove_tags=decision.remove_tags,
                )
            )
            if answer is None:
                if gallery is self.gallery:
                    gallery.restore(before)
                    self.show_shown()
                return

    def _restore(self, marks: Sequence[Mark], said: str) -> None:
        self.gallery.restore(marks)
        self.show_shown()
        self.grid.go_to(marks[0].id)
        self.negtui.say(said)
        for start in range(0, len(marks), MAX_MARKED):
            wanted = tuple(WantedMark(id=mark.id, status=mark.status, tags=mark.tags) for mark in marks[start : start + MAX_MARKED])
            self.negtui.run_ask(RestoreMarks(session=self.gallery.session, folder=self.gallery.folder, marks=wanted))

    # Lines to fill in.

    def on_text_form_changed(self, event: TextForm.Changed) -> None:
        if event.form == "filter":
            self.gallery.group = ()
            self.gallery.filter = replace(self.gallery.filter, text=event.values["text"])
            self.show_shown()

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        if event.form == "tag":
            try:
                add, remove = read_tags(event.values["tags"])
            except NegError as error:
                self.form.refuse(str(error))
                return
            self._decide(Decision(self._chosen(), add_tags=add, remove_tags=remove))
        self.form.display = False
        self.grid.focus()

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        self.grid.focus()


def _picture(session: str, record: ImageRecord) -> Picture:
    return Picture(session, record.path, record.request.width, record.request.height)
