"""The half of screen 2 that chooses among pictures: filters, marks with undo, full screen.

What is shown and marked is `negtui.dataset.Gallery`. A mark is seen at once, then sent, and taken back where the daemon refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from rich.text import Text
from textual.widgets import Static

from daemon.protocol.commands import MAX_MARKED, Command, MarkImages, RestoreMarks, WantedMark
from daemon.protocol.errors import NegError
from daemon.protocol.events import Mark
from daemon.protocol.specs import ImageRecord, Status
from negtui.curation import Decision, Filter, balance, mark_of, read_tags
from negtui.dataset import Gallery, balance_lines, caption, prompt_with_seed, short_caption, sign
from negtui.output import quantity
from negtui.screens.beside import beside
from negtui.screens.planning import PlanningScreen
from negtui.widgets.image_grid import GridItem, ImageGrid
from negtui.widgets.image_view import ImageView, Picture
from negtui.widgets.text_form import Line, TextForm

NO_PICTURE = "There is no picture here to do that to."

T = TypeVar("T")


class CuratingScreen(PlanningScreen):
    """Modes: the grid, one picture (`-full`), the plan (`-planning`)."""

    def __init__(self) -> None:
        super().__init__()
        self.gallery = Gallery()
        self.pending: GridItem | None = None
        """The picture that is being painted."""
        self._tagged: tuple[str, ...] = ()
        """What the open form puts tags on: the cursor may move on meanwhile."""
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

    def load_soon(self) -> None:
        """Have the pictures listed anew."""

    # What is shown.

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
        if self.current is None:
            self.negtui.say(NO_PICTURE)
        else:
            self.gallery.selected ^= {self.current.id}
            self.show_shown()
            self.action_move(1)

    def action_select_all(self) -> None:
        self.gallery.selected = {record.id for record in self.gallery.shown}
        self.show_shown()

    def action_mark(self, status: Status) -> None:
        self._decide(Decision(self._chosen(), status=status))

    async def action_tag(self) -> None:
        self._tagged = self._chosen()
        if self._tagged and self.negtui.may_change():
            await self.form.open(
                "tag", f"Tags for {quantity(len(self._tagged), 'picture')}", (Line("tags", "tags", hint="words; -word takes one off"),)
            )

    def action_undo(self) -> None:
        history = self.gallery.history
        if self.negtui.may_change():
            step = history.undo()
            if step is None:
                self.negtui.say("There is nothing to undo.")
            else:
                self._restore(step.before, f"Undone: {step.words}.", history.redo)

    def action_redo(self) -> None:
        history = self.gallery.history
        if self.negtui.may_change():
            step = history.redo()
            if step is None:
                self.negtui.say("There is nothing to do again.")
            else:
                self._restore(step.after, f"Done again: {step.words}.", history.undo)

    def action_copy(self) -> None:
        if self.current is None:
            self.negtui.say(NO_PICTURE)
            return
        self.app.copy_to_clipboard(prompt_with_seed(self.current))
        self.negtui.say("Copied: the prompt with its seed.")

    def _chosen(self) -> tuple[str, ...]:
        """What a key is about; where there is nothing, that is said."""
        chosen = self.gallery.chosen(self.current.id if self.current is not None else None)
        if not chosen:
            self.negtui.say(NO_PICTURE)
        return chosen

    def _decide(self, decision: Decision) -> None:
        """Show it, go on to the next picture, send it."""
        if not decision.ids or not self.negtui.may_change():
            return
        record, was_single = self.current, not self.gallery.selected
        step = self.gallery.decide(decision)
        self.gallery.selected.clear()
        self.show_shown()
        if was_single and record is not None and self.current is not None and self.current.id == record.id:
            self.action_move(1)
        commands = [
            MarkImages(
                session=self.gallery.session,
                folder=self.gallery.folder,
                ids=part,
                status=decision.status,
                add_tags=decision.add_tags,
                remove_tags=decision.remove_tags,
            )
            for part in _parts(decision.ids)
        ]
        if step.after:
            self._send(commands, step.before, partial(self.gallery.history.forget, step))

    def _restore(self, marks: Sequence[Mark], said: str, take_back: Callable[[], object]) -> None:
        gallery = self.gallery
        before = tuple(mark_of(gallery.records[mark.id]) for mark in marks if mark.id in gallery.records)
        gallery.restore(marks)
        self.show_shown()
        self.grid.go_to(marks[0].id)
        self.negtui.say(said)
        wanted = [WantedMark(id=mark.id, status=mark.status, tags=mark.tags) for mark in marks]
        commands = [RestoreMarks(session=gallery.session, folder=gallery.folder, marks=part) for part in _parts(wanted)]
        self._send(commands, before, take_back)

    def _send(self, commands: Sequence[Command], before: Sequence[Mark], take_back: Callable[[], object]) -> None:
        """What is shown already; where the daemon refuses it, all is again as `before`, also in the history, and is listed anew."""
        gallery = self.gallery

        async def send() -> None:
            for command in commands:
                if await self.negtui.ask(command) is None:
                    take_back()
                    gallery.restore(before)
                    if gallery is self.gallery:
                        self.show_shown()
                        self.load_soon()
                    return

        beside(self, send, "marks", exclusive=False)

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
            self._decide(Decision(self._tagged, add_tags=add, remove_tags=remove))
        self.form.display = False
        self.grid.focus()

    def on_text_form_closed(self, event: TextForm.Closed) -> None:
        self.grid.focus()


def _parts(marks: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """As many as go into one command."""
    for start in range(0, len(marks), MAX_MARKED):
        yield tuple(marks[start : start + MAX_MARKED])


def _picture(session: str, record: ImageRecord) -> Picture:
    return Picture(session, record.path, record.request.width, record.request.height)
