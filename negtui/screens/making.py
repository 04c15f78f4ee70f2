"""The half of screen 1 that makes sessions, changes their settings, copies, checks and deletes them. Knows the contract, no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from daemon.protocol.commands import (
    ChangeSession,
    CreateSession,
    DeleteSession,
    DuplicateSession,
    ImportSession,
    ReadSession,
    SessionAnswer,
)
from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import COMBINATION_TYPES
from daemon.protocol.specs import MergeJob
from negtui.acts import start_jobs
from negtui.commands.sessions import read_settings, reference, toml_text
from negtui.merging import merge_spec
from negtui.output import quantity
from negtui.packing import SUFFIX, pack
from negtui.screens.base import NegtuiScreen
from negtui.screens.beside import beside
from negtui.widgets.session_table import SessionTable
from negtui.widgets.text_form import Line, TextForm

NEW_LINES = (
    Line("name", "name", hint="a-z 0-9 . _ -"),
    Line("template", "template", "toy", "toy, wrong, or a session"),
    Line("model", "model", hint="as in the template; a folder, a .safetensors file or a hub id"),
    Line("refiner", "refiner", hint="as in the template; none runs the base alone"),
    Line("vae", "vae", hint="as in the template"),
    Line("settings", "settings", hint="others, as training.rank=8 comparison.num_prompts=6"),
)
MERGE_LINES = (
    Line("adapters", "adapters", hint="wrong=1 subject=0.7"),
    Line("output_name", "new name", "merged"),
    Line("combination_type", "combination", "cat", " ".join(COMBINATION_TYPES)),
    Line("density", "density", hint="only ties, dare_..., magnitude_prune: the share of weights kept, as 0.5"),
    Line("svd_rank", "svd rank", hint="only svd and ..._svd: the highest of the parents"),
)


class MakingScreen(NegtuiScreen):
    """Subclasses compose a `SessionTable` and a `TextForm`."""

    _submitted = ""
    """The form whose wish is under way; a person may have left it, and opened another one."""

    @property
    def table(self) -> SessionTable:
        return self.query_one(SessionTable)

    @property
    def form(self) -> TextForm:
        return self.query_one(TextForm)

    def chosen(self) -> str | None:
        """The session under the cursor, for a key that does something to it; where there is none, that is said."""
        if self.table.session is None:
            is_told = self.view.connection.state != "connecting"
            none = "There is no session yet: n makes one." if is_told else "The daemon has not told its sessions yet."
            self.negtui.say("No session has these words: esc shows all." if self.view.sessions else none)
        return self.table.session

    async def action_new(self) -> None:
        await self._open("new", "New session", NEW_LINES)

    async def action_duplicate(self) -> None:
        session = self.chosen()
        if session is not None:
            lines = (Line("new_name", "new name", f"{session}-2"), Line("all", "with files", "no", "yes copies pictures and adapters too"))
            await self._open(f"duplicate {session}", f"Copy the session {session}", lines)

    async def action_delete(self) -> None:
        session = self.chosen()
        if session is not None:
            title = f"Delete {session} with all its pictures, adapters and comparisons? Type its name."
            await self._open(f"delete {session}", title, (Line("typed", "name", hint="esc keeps it"),))

    async def action_set(self) -> None:
        session = self.chosen()
        if session is not None:
            hint = "training.rank=8 comparison.num_prompts=6; none takes one away"
            await self._open(
                f"set {session}", f"Settings of {session}, as `negtui set` takes them", (Line("settings", "settings", hint=hint),)
            )

    async def action_merge(self) -> None:
        session = self.chosen()
        if session is not None:
            known = ", ".join(self.view.sessions[session].adapters) or "none yet"
            await self._open(f"merge {session}", f"Merge adapters of {session} into one. It has: {known}", MERGE_LINES)

    async def action_export(self) -> None:
        session = self.chosen()
        if session is not None:
            lines = (Line("path", "file", str(Path.cwd() / f"{session}{SUFFIX}")),)
            await self.form.open(f"export {session}", f"Pack {session} into a file on this machine", lines)

    async def action_take(self) -> None:
        where = "on the daemon's host" if self.view.connection.endpoint else "on this machine"
        lines = (Line("path", "file", hint=f"what `negtui export` wrote, {where}"), Line("name", "new name", hint="as it was called"))
        await self._open("import", "Take a packed session", lines)

    async def _open(self, form: str, title: str, lines: Sequence[Line]) -> None:
        """A form whose wish changes something."""
        if self.negtui.may_change():
            await self.form.open(form, title, lines)

    def on_text_form_submitted(self, event: TextForm.Submitted) -> None:
        if event.form == "filter":
            self.form.display = False
            self.table.focus()
        elif self._submitted:
            self.form.refuse("What was submitted before is still under way.")
        else:
            self._submitted = event.form
            beside(self, partial(self._submit, {name: value.strip() for name, value in event.values.items()}), "form", exclusive=False)

    async def _submit(self, values: dict[str, str]) -> None:
        verb, _, session = self._submitted.partition(" ")
        try:
            if verb == "new":
                await self._create(values)
            elif verb == "duplicate":
                await self._duplicate(session, values)
            elif verb == "set":
                await self._set(session, values["settings"])
            elif verb == "merge":
                await self._merge(session, values)
            elif verb == "export":
                await self._export(session, values["path"])
            elif verb == "import":
                await self._take(values)
            elif values["typed"] != session:
                self._refuse(f"{values['typed']!r} is not its name: {session} stays. Type {session}, or esc.")
            else:
                await self._delete(session)
        finally:
            self._submitted = ""

    async def _create(self, values: dict[str, str]) -> None:
        fields = (("model", "base"), ("refiner", "refiner"), ("vae", "vae"))
        changes = {f"model.{field}": self._model(values[name]) for name, field in fields if values[name]}
        settings = self._read(values["settings"])
        if settings is None:
            return
        command = CreateSession(name=values["name"], template=values["template"] or "toy", changes=changes | settings)
        answer = await self.negtui.ask(command, self._refuse)
        if isinstance(answer, SessionAnswer):
            self._arrived(answer.name, f"Made {answer.path}. r runs it, e edits it.", answer.warnings)

    async def _duplicate(self, session: str, values: dict[str, str]) -> None:
        settings_only = values["all"].lower() not in ("yes", "y", "true")
        command = DuplicateSession(name=session, new_name=values["new_name"], settings_only=settings_only)
        answer = await self.negtui.ask(command, self._refuse)
        if isinstance(answer, SessionAnswer):
            self._arrived(answer.name, f"Made {answer.path} from {session}.", answer.warnings)

    async def _set(self, session: str, text: str) -> None:
        changes = self._read(text)
        answer = await self.negtui.ask(ChangeSession(name=session, changes=changes), self._refuse) if changes else None
        if isinstance(answer, SessionAnswer):
            self._close()
            self._tell(f"Written to the session.toml of {session}: {', '.join(changes or ())}.", answer.warnings)

    async def _merge(self, session: str, values: dict[str, str]) -> None:
        try:
            merging = merge_spec(values.pop("adapters").split(), values)
        except NegError as error:
            self._refuse(str(error))
            return
        answer = await self.negtui.ask(ReadSession(name=session), self._refuse)
        if not isinstance(answer, SessionAnswer):
            return
        rows = await start_jobs(self.negtui.ask, session, {"merge": MergeJob(session=session, model=answer.spec.model, merging=merging)})
        if rows:
            self._close()
            self.negtui.say(f"{session}: the merge into {merging.output_name} is {rows[0].state}.")

    async def _export(self, session: str, path: str) -> None:
        try:
            packed = await pack(self.negtui.client.request, self.negtui.fetch, session, Path(path).expanduser(), note=self.negtui.say)
        except NegError as error:
            self._refuse(str(error))
            return
        self._close()
        self.app.copy_to_clipboard(str(packed.path))
        links = [f"{quantity(packed.num_links, 'link')} stayed behind."] if packed.num_links else []
        self._tell(f"{quantity(packed.num_files, 'file')} packed. Copied: {packed.path}", links)

    async def _take(self, values: dict[str, str]) -> None:
        path = values["path"] if self.view.connection.endpoint else str(Path(values["path"]).expanduser().absolute())
        answer = await self.negtui.ask(ImportSession(path=path, new_name=values["name"] or None), self._refuse)
        if isinstance(answer, SessionAnswer):
            self._arrived(answer.name, f"Took {answer.path}; every file is the one that was packed.", answer.warnings)

    async def _delete(self, session: str) -> None:
        answer = await self.negtui.ask(DeleteSession(name=session, typed=session))
        if answer is not None:
            if self.negtui.current_session == session:
                self.negtui.current_session = None
            self._close()
            self.negtui.say(f"{session} is deleted.")

    def _arrived(self, name: str, said: str, warnings: Sequence[str]) -> None:
        self.negtui.current_session = name
        self._close()
        self.table.go_to(name)
        self._tell(said, warnings)

    def _tell(self, said: str, warnings: Sequence[str]) -> None:
        for text, severity in ((said, "information"), *((warning, "warning") for warning in warnings)):
            self.negtui.say(text, severity)

    def _read(self, settings: str) -> dict[str, str] | None:
        """The settings in a line; None where it cannot be read, which the form then says."""
        try:
            return read_settings(settings)
        except NegError as error:
            self._refuse(str(error))
            return None

    def _model(self, text: str) -> str:
        """A model as TOML text."""
        return text if text == "none" else toml_text(reference(text, is_remote=bool(self.view.connection.endpoint)))

    @property
    def _is_before(self) -> bool:
        """Whether the person still has the form before them whose wish is under way."""
        return self.form.is_open and self.form.form == self._submitted

    def _refuse(self, words: str) -> None:
        """Say in the form, or in a toast where that was left, why the wish is not fulfilled."""
        if self._is_before:
            self.form.refuse(words)
        else:
            self.negtui.say(words, "error")

    def _close(self) -> None:
        if self._is_before:
            self.form.display = False
            self.table.focus()
