"""A daemon of scripts that keeps one session's settings: `ChangeSession` changes them as the real one would, or refuses."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence

import msgspec

from daemon.protocol.commands import AnyCommand, AnyResult, ChangeSession, SessionAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobRow, MetricsRecorded, SamplePicture, SamplesSaved
from daemon.protocol.specs import SessionSpec
from tests.fake_daemon import FakeDaemon


class TrainingDaemon(FakeDaemon):
    """`refused`: settings that it will not change. `is_writing` cleared: changes wait until it is set."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        super().__init__()
        self.refused = refused
        self.changes: list[dict[str, str]] = []
        self.is_writing = asyncio.Event()
        self.is_writing.set()

    async def request(self, command: AnyCommand) -> AnyResult:
        if not isinstance(command, ChangeSession):
            return await super().request(command)
        await self.is_writing.wait()
        self.changes.append(dict(command.changes))
        tables = msgspec.to_builtins(self.spec)
        for setting, text in command.changes.items():
            section, name = setting.split(".")
            if setting in self.refused:
                raise NegError("invalid", f"{setting} is refused.", "Leave it.")
            value = None if text == "none" else tomllib.loads(f"value = {text}")["value"]
            tables[section] = {**(tables[section] or {}), name: value}
        self.spec = msgspec.convert(tables, SessionSpec)
        return SessionAnswer(name=command.name, path=f"/w/sessions/{command.name}", spec=self.spec)


def curve(row: JobRow, num_steps: int, **values: float) -> MetricsRecorded:
    """A batch of points from step 1; each value falls off as 1 / step."""
    steps = tuple(range(1, num_steps + 1))
    return MetricsRecorded(
        job_id=row.id, steps=steps, values={name: tuple(value / step for step in steps) for name, value in values.items()}
    )


def samples(row: JobRow, step: int, prompts: Sequence[str] = ("a star",)) -> SamplesSaved:
    """The three arms of each prompt."""
    pictures = tuple(
        SamplePicture(
            arm=arm,
            prompt=prompt,
            negative_prompt=None,
            seed=0,
            path=f"samples/wrong/step-{step:06}/{number}-{arm}.png",
            sha256="0",
            values={"flaw_probability": 0.25},
        )
        for number, prompt in enumerate(prompts)
        for arm in ("baseline", "placebo", "target")
    )
    return SamplesSaved(job_id=row.id, session="toy", run="wrong", step=step, pictures=pictures)
