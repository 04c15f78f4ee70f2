"""Progress of followed jobs: bars on a terminal, a line every tenth in a pipe, nothing with --quiet or --json."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, Self

from negtui.output import Output, clean
from negtui.wording import Reading


class Progress(Protocol):
    """Where the follower tells what it sees."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def say(self, text: str) -> None:
        """A line that stays."""

    def update(self, job_id: str, title: str, reading: Reading) -> None:
        """A job is now there."""

    def end(self, job_id: str, title: str, text: str, done: bool) -> None:
        """A job is over (`done`), or stands still."""


def progress_for(output: Output) -> Progress:
    """Bars where they can be seen, else lines (which --quiet and --json leave out)."""
    return BarProgress(output) if output.has_bars else PlainProgress(output)


class PlainProgress:
    """Lines without escapes, one per tenth of a job's phase."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._reached: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def say(self, text: str) -> None:
        self._output.line(text)

    def update(self, job_id: str, title: str, reading: Reading) -> None:
        if reading.fraction is None:
            return
        last_phase, last_tenth = self._reached.get(job_id, ("", 0))
        phase, tenth = reading.phase or last_phase, int(reading.fraction * 10)
        if tenth > (last_tenth if phase == last_phase else 0):
            self._reached[job_id] = (phase, tenth)
            self._output.line(f"{title}: {tenth * 10} % ({reading.text})")

    def end(self, job_id: str, title: str, text: str, done: bool) -> None:
        self._output.line(f"{title}: {text}")


class BarProgress:
    """One bar per job, redrawn in place."""

    def __init__(self, output: Output) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.fields[title]:<18}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._bars = Bars(*columns, console=Console(file=output.stdout, highlight=False), refresh_per_second=8)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        self._bars.console.print(clean(text), markup=False, highlight=False)

    def update(self, job_id: str, title: str, reading: Reading) -> None:
        task, text = self._task(job_id, title), clean(reading.text)
        if reading.fraction is None:
            self._bars.update(task, description=text)
        else:
            self._bars.update(task, completed=reading.fraction, description=text)

    def end(self, job_id: str, title: str, text: str, done: bool) -> None:
        task = self._task(job_id, title)
        if done:
            self._bars.update(task, completed=1.0, description=clean(text))
        else:
            self._bars.update(task, description=clean(text))
        self._bars.stop_task(task)

    def _task(self, job_id: str, title: str) -> Any:
        if job_id not in self._tasks:
            self._tasks[job_id] = self._bars.add_task("", total=1.0, title=clean(title))
        return self._tasks[job_id]
