"""The half of screen 4 that brings a comparison's report and sheets to a person. Knows the contract, no sockets."""

from __future__ import annotations

from pathlib import Path

from textual import work

from daemon.protocol.errors import NegError
from negtui.output import quantity
from negtui.saving import save_results
from negtui.screens.blocks import BlocksScreen
from negtui.widgets.text_form import Line, TextForm


class ReportingScreen(BlocksScreen):
    """Subclasses compose a `TextForm`, and hand what is submitted as `save` to `save`."""

    @property
    def form(self) -> TextForm:
        return self.query_one(TextForm)

    def action_report(self) -> None:
        answer = self.looking.answer
        if answer is None or not answer.report_path:
            self.negtui.say("There is no report yet.", "warning")
            return
        try:
            welcome = self.negtui.client.welcome
        except NegError as error:
            self.negtui.say(str(error), "error")
            return
        folder = f"{welcome.sessions_path}/{answer.session}" if welcome is not None else answer.session
        self.app.copy_to_clipboard(f"{folder}/{answer.report_path}")
        sheets = "".join(f"\nSheet: {folder}/{path}" for path in answer.sheet_paths[:3])
        self.negtui.say(f"Report (copied): {folder}/{answer.report_path}{sheets}")

    async def action_save(self) -> None:
        answer = self.looking.answer
        if answer is None or not answer.report_path:
            self.negtui.say("There is no report yet.", "warning")
            return
        title = f"Save report, contact sheets and tables of {answer.session}/{answer.name} on this machine"
        await self.form.open("save", title, (Line("folder", "folder", str(Path.cwd())),))

    @work(group="save", exclusive=True)
    async def save(self, folder: str) -> None:
        answer = self.looking.answer
        if answer is None:
            return
        try:
            saved = await save_results(self.negtui.fetch, answer, Path(folder))
        except NegError as error:
            self.form.refuse(str(error))
            return
        self.form.display = False
        self.set_focus(None)
        self.app.copy_to_clipboard(str(saved[0]))
        self.negtui.say(f"Saved {quantity(len(saved), 'file')}. Report (copied): {saved[0]}")
