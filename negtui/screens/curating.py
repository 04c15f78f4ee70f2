"""The half of screen 2 that decides: pictures are selected, kept, rejected and tagged, and all of it can be taken back.

A mark is seen at once, then sent, and taken back where the daemon refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from daemon.protocol.commands import MAX_MARKED, Command, MarkImages, RestoreMarks, WantedMark
from daemon.protocol.errors import NegError
from daemon.protocol.events import Mark
from daemon.protocol.specs import Status
from negtui.curation import Decision, mark_of, read_tags
from negtui.output import quantity
from negtui.screens.beside import beside
from negtui.screens.browsing import NO_PICTURE, BrowsingScreen
from negtui.widgets.text_form import Line, TextForm

T = TypeVar("T")


class CuratingScreen(BrowsingScreen):
    """Subclasses have the pictures listed."""

    def __init__(self) -> None:
        super().__init__()
        self._tagged: tuple[str, ...] = ()
        """What the open form puts tags on: the cursor may move on meanwhile."""

    def load_soon(self) -> None:
        """Have the pictures listed anew."""

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

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        if event.form != "tag":
            return
        try:
            add, remove = read_tags(event.values["tags"])
        except NegError as error:
            self.form.refuse(str(error))
            # It stays open.
            event.prevent_default()
            return
        self._decide(Decision(self._tagged, add_tags=add, remove_tags=remove))

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


def _parts(marks: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """As many as go into one command."""
    for start in range(0, len(marks), MAX_MARKED):
        yield tuple(marks[start : start + MAX_MARKED])
