"""The half of screen 2 that plans a synthesis and starts it: what it takes is shown before. Knows the contract, no sockets."""

from __future__ import annotations

import asyncio
from functools import partial

from textual import work

from daemon.protocol.commands import ChangeSession, Plan, PlanSynthesis, ReadSession, SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SynthesisSpec
from negtui.acts import start_acts
from negtui.output import duration, quantity
from negtui.screens.base import NO_SESSION, NegtuiScreen
from negtui.screens.beside import beside
from negtui.widgets.plan_pane import Draft, PlanPane, size

PLAN_SECONDS = 0.3
"""How long the lines rest before the daemon is asked what they take."""


class PlanningScreen(NegtuiScreen):
    """Subclasses compose a `PlanPane`, say which `session` it is, and leave the plan with `close_plan`."""

    _planned: SynthesisSpec | None = None

    @property
    def session(self) -> str:
        """The session that is planned; empty: none."""
        raise NotImplementedError

    @property
    def plan_pane(self) -> PlanPane:
        return self.query_one(PlanPane)

    def action_plan(self) -> None:
        if self.session:
            beside(self, self._open_plan, "plan")
        else:
            self.negtui.say(NO_SESSION)

    def close_plan(self) -> None:
        """Back to the pictures; what was not saved is forgotten."""
        self.remove_class("-planning")

    async def _open_plan(self) -> None:
        session = self.session
        answer = await self.negtui.ask(ReadSession(name=session))
        if isinstance(answer, SessionAnswer) and session == self.session:
            self._planned = answer.spec.synthesis
            self.add_class("-planning")
            self.plan_pane.open(self._planned)

    def on_plan_pane_edited(self, event: PlanPane.Edited) -> None:
        beside(self, partial(self._ask_plan, event.draft), "plan")

    async def _ask_plan(self, draft: Draft) -> None:
        await asyncio.sleep(PLAN_SECONDS)
        try:
            plan = await self.negtui.client.request(PlanSynthesis(name=self.session, changes=draft.changes(self._planned)))
        except NegError as error:
            self.plan_pane.refuse(str(error))
            return
        self.plan_pane.show_plan(draft, plan if isinstance(plan, Plan) else None)

    def on_plan_pane_saved(self, event: PlanPane.Saved) -> None:
        beside(self, partial(self._save, event.draft, False), "save")

    def on_plan_pane_started(self, event: PlanPane.Started) -> None:
        beside(self, partial(self._save, event.draft, True), "save")

    def on_plan_pane_closed(self, event: PlanPane.Closed) -> None:
        self.close_plan()

    async def _save(self, draft: Draft, start: bool) -> None:
        session, changes = self.session, draft.changes(self._planned)
        if changes:
            answer = await self.negtui.ask(ChangeSession(name=session, changes=changes))
            if not isinstance(answer, SessionAnswer):
                return
            self._planned = answer.spec.synthesis
            self.negtui.say(f"Written to the session.toml of {session}.")
        if start and await self._start(session):
            self.close_plan()

    @work(group="start", exclusive=True)
    async def action_start(self) -> None:
        """Ask first, naming what it takes."""
        session = self.session
        if not session:
            self.negtui.say(NO_SESSION)
            return
        plan = await self.negtui.ask(PlanSynthesis(name=session))
        if not isinstance(plan, Plan):
            return
        missing = quantity(plan.num_images - plan.num_present, "picture")
        time = f"about {duration(plan.seconds)}" if plan.seconds is not None else "time not known yet"
        if await self.negtui.confirm(f"Paint {missing} for {session} ({time}, {size(plan.num_bytes)})?"):
            await self._start(session)

    async def _start(self, session: str) -> bool:
        rows = await start_acts(self.negtui.ask, session, ("synthesize",))
        if rows:
            self.negtui.say(f"The synthesis of {session} is {rows[0].state}.")
        elif rows is not None:
            self.negtui.say(f"{session} has no [synthesis] yet: e plans one.", "warning")
        return bool(rows)
