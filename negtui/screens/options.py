"""The part of screen 3 that shows the options of a training and changes them: those of the session's `[training]`, by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from daemon.protocol import training_rules
from daemon.protocol.commands import ChangeSession, ReadSession, SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec
from daemon.protocol.training_spec import TrainingSpec
from negtui import forms
from negtui.screens.base import NO_SESSION
from negtui.screens.steering import SteeringScreen
from negtui.widgets.spec_form import Remark, SpecForm


class OptionsScreen(SteeringScreen):
    """Subclasses compose a `SpecForm`, say with `turn_to` whose training it is, and call `read_soon` when it may have changed."""

    def __init__(self) -> None:
        super().__init__()
        self.session: str | None = None
        self.spec: SessionSpec | None = None
        self.is_stale = True
        """Whether the session is to be read once more."""
        self._fault = ""
        self._is_reading = False
        self._changing = asyncio.Lock()
        """Changes reach the session one after the other, and a start waits behind them."""
        self._num_refused = 0

    def turn_to(self, session: str | None) -> None:
        """Show another session's options, as soon as they are read."""
        self.session, self.spec, self._fault, self.is_stale = session, None, "", True
        self.query_one(SpecForm).reset()
        self._show_form()

    def read_soon(self) -> None:
        """Read the session as it is on disk now; a change meanwhile is read after that."""
        self.is_stale = True
        if self.session is not None and not self._is_reading and self.view.connection.state == "connected":
            self._is_reading = True
            self.run_worker(self._read(), group="reading")

    async def _read(self) -> None:
        try:
            while self.is_stale and self.session is not None:
                self.is_stale = False
                name = self.session
                try:
                    answer = await self.negtui.client.request(ReadSession(name=name))
                except NegError as error:
                    answer, self._fault = None, str(error)
                if isinstance(answer, SessionAnswer) and name == self.session:
                    self.spec, self._fault = answer.spec, ""
                self._show_form()
        finally:
            self._is_reading = False

    def _show_form(self) -> None:
        training = self.spec.training if self.spec else None
        notice = self._fault
        if self.session is None:
            notice = NO_SESSION
        elif self.spec is not None and training is None:
            notice = f"{self.session} has no [training]; the first change adds one."
            training = TrainingSpec()
        elif self.negtui.read_only:
            notice = notice or "Opened with --read-only: nothing is changed from here."
        self.query_one(SpecForm).show(training, is_editable=not self._fault and not self.negtui.read_only, notice=notice)

    def on_spec_form_edited(self, message: SpecForm.Edited) -> None:
        message.stop()
        if self.session is not None:
            self.run_worker(self._change(self.session, message.option.name, message.value), group="changing")

    async def are_changes_written(self) -> bool:
        num_refused = self._num_refused
        async with self._changing:
            return self._num_refused == num_refused

    async def _change(self, session: str, option: str, value: Any) -> None:
        command = ChangeSession(name=session, changes={f"training.{option}": forms.as_toml(value)}, skip_checks=True)
        try:
            async with self._changing:
                answer = await self.negtui.client.request(command)
        except NegError as error:
            self._num_refused += 1
            if session == self.session:
                self.query_one(SpecForm).refuse(option, str(error))
            else:
                self.negtui.say(f"{session}, {option}: {error}", "error")
            return
        if isinstance(answer, SessionAnswer) and answer.name == self.session:
            self.spec, self._fault = answer.spec, ""
            self._show_form()


def judge(spec: Any) -> Mapping[str, Remark]:
    """What the rules between options say about a training's, by option; faults before doubts."""
    found: dict[str, Remark] = {}
    for rules, is_fault in ((training_rules.FAULTS, True), (training_rules.DOUBTS, False)):
        for rule in rules:
            finding = rule(spec)
            if finding is not None:
                found.setdefault(finding.option, Remark(f"{finding.message}. {finding.remedy}", is_fault))
    return found
