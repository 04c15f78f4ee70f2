"""Starting, pausing, stopping a training and giving it orders, by keys. Which run they go to is the screen's to say."""

from __future__ import annotations

import msgspec

from daemon.protocol.commands import Cancel, Command, JobAnswer, Pause, Resume, Steer
from daemon.protocol.events import JobRow
from daemon.protocol.orders import Checkpoint, LearningRate, Order, Sample, StopAndKeep
from daemon.protocol.specs import TrainJob
from negtui import acts, forms
from negtui.screens.base import NO_SESSION, NegtuiScreen
from negtui.trainings import short
from negtui.view import OPEN
from negtui.widgets.text_form import Line, TextForm


class SteeringScreen(NegtuiScreen, inherit_bindings=False):
    """A screen with a run in view. Subclasses tell which session and run, and compose a `TextForm`."""

    session: str | None = None

    @property
    def row(self) -> JobRow | None:
        """The run that orders go to."""
        return None

    def look_at_newest(self, job_id: str) -> None:
        """A run was started: it is the one to look at."""

    async def are_changes_written(self) -> bool:
        """Wait for changes on their way to the session, so that a run starts with what the screen shows. False: one was refused."""
        return True

    def action_start(self) -> None:
        self.run_worker(self._start(), group="starting", exclusive=True)

    async def _start(self) -> None:
        if self.session is None:
            self.negtui.say(NO_SESSION, "warning")
            return
        if not await self.are_changes_written():
            self.negtui.say("Not started: the last change was refused.", "warning")
            return
        rows = await acts.start_acts(self.negtui.ask, self.session, ("train",))
        if rows == []:
            self.negtui.say(f"{self.session} has no [training]: change an option first.", "warning")
        elif rows:
            self.look_at_newest(rows[0].id)

    def action_resume(self) -> None:
        row = self._run_in(*acts.STANDING, words="stands still")
        if row is not None:
            self.negtui.run_ask(Resume(job_id=row.id))

    def action_pause(self) -> None:
        row = self._run_in("queued", "running", words="runs")
        if row is not None:
            self.negtui.run_ask(Pause(job_id=row.id))

    def action_stop_and_keep(self) -> None:
        row = self._run_in("running", words="runs")
        if row is not None:
            question = f"End the training of {self.session} ({short(row.id)}) now and keep the adapter as it is?"
            self._ask_first(question, Steer(job_id=row.id, order=StopAndKeep()), "The training ends at its next step; the adapter is kept.")

    def action_cancel(self) -> None:
        row = self._run_in(*OPEN, words="is under way")
        if row is not None:
            self._ask_first(f"Cancel the training of {self.session} ({short(row.id)})? Its checkpoints stay.", Cancel(job_id=row.id))

    def action_sample(self) -> None:
        self._order(Sample(), "Sample pictures are painted at the next step.")

    def action_checkpoint(self) -> None:
        self._order(Checkpoint(), "A checkpoint is written at the next step.")

    async def action_learning_rate(self) -> None:
        row = self._run_in("running", words="runs")
        if row is not None and isinstance(row.spec, TrainJob):
            line = Line("value", "learning rate", forms.written(row.spec.training.learning_rate))
            await self.query_one(TextForm).open(row.id, f"From the next step on, for this run ({short(row.id)}) only", [line])

    def on_text_form_submitted(self, message: TextForm.Submitted) -> None:
        """To the run that the form was opened for: a newer one may be in view by now."""
        message.stop()
        form = self.query_one(TextForm)
        try:
            order = msgspec.convert({"type": "LearningRate", "value": float(message.values["value"])}, LearningRate)
        except (ValueError, msgspec.ValidationError):
            form.refuse("It must be a number above 0, at most 1e6, as 1e-4.")
            return
        form.action_close()
        self._steer(message.form, order, f"The learning rate is {order.value:g} from the next step on.")

    def _order(self, order: Order, words: str) -> None:
        row = self._run_in("running", words="runs")
        if row is not None:
            self._steer(row.id, order, words)

    def _steer(self, job_id: str, order: Order, words: str) -> None:
        self.negtui.run_ask(Steer(job_id=job_id, order=order), lambda answer: self.negtui.say(words))

    def _ask_first(self, question: str, command: Command, words: str = "") -> None:
        """Send a command once the person says yes."""

        async def asking() -> None:
            if await self.negtui.confirm(question) and isinstance(await self.negtui.ask(command), JobAnswer) and words:
                self.negtui.say(words)

        self.run_worker(asking(), group="asking")

    def _run_in(self, *states: str, words: str) -> JobRow | None:
        """The run in view, if it is in one of these states; otherwise says that none is."""
        row = self.row
        if row is None or row.state not in states:
            self.negtui.say(f"No training that {words} is shown here{f': this one is {row.state}' if row else ''}.", "warning")
            return None
        return row
