"""The status line: connection and its age, the running job and how far it is, memory, pictures. One row, cut where it must be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from daemon.protocol.events import JobRow, StepProgress
from negtui import wording
from negtui.keys import by_id, key_words
from negtui.output import clean, duration
from negtui.view import View, running

if TYPE_CHECKING:
    from negtui.app import NegtuiApp

START_KEY = by_id()["app.start_daemon"].key


class StatusBar(Widget):
    """Repaints only when its words change, so that an idle dashboard sends nothing."""

    DEFAULT_CSS = """
    StatusBar { height: 1; background: $surface; color: $foreground; }
    """
    words: reactive[tuple[str, ...]] = reactive(())

    def on_mount(self) -> None:
        self.set_interval(1.0, self._tick)

    def show(self, view: View) -> None:
        app = cast("NegtuiApp", self.app)
        hint = f"{key_words(app.keys_changed.get('app.start_daemon', START_KEY))} starts the daemon" if app.may_start_daemon else ""
        self.words = status_words(view, time.time(), app.pictures_words, app.read_only, hint)

    def _tick(self) -> None:
        if self.screen.is_current:
            self.show(cast("NegtuiApp", self.app).view)

    def render(self) -> Text:
        return fit(self.words, self.size.width)


def status_words(view: View, now: float, pictures: str, read_only: bool, hint: str = "") -> tuple[str, ...]:
    """The parts of the line, the most important first. `hint`: what to do where there is no connection."""
    words = [connection_words(view, now)]
    if view.connection.state == "lost":
        words.append(hint)
    if read_only:
        words.append("read only")
    job = running(view)
    if job is not None:
        words.append(job_words(job, view.progress.get(job.id)))
    else:
        waiting = sum(row.state == "queued" for row in view.jobs.values())
        words.append(f"{waiting} queued" if waiting else "no job runs")
    words.append(memory_words(view))
    words.append(pictures)
    if view.connection.version:
        words.append(f"daemon {view.connection.version}, protocol {view.connection.protocol}")
    return tuple(clean(word) for word in words if word)


def job_words(job: JobRow, progress: StepProgress | None) -> str:
    """`train toy 51/600 17.8 it/s 36 s left`; of pictures, which one it is."""
    if progress is None:
        return f"{wording.title(job)}: {job.state}"
    words = [wording.title(job)]
    if progress.phase != wording.act(job.spec):
        words.append(progress.phase)
    if progress.image_index is not None and progress.num_images:
        words.append(f"image {progress.image_index + 1}/{progress.num_images}")
    else:
        words.append(f"{progress.step}/{progress.num_steps}")
    if progress.steps_per_second:
        words.append(f"{progress.steps_per_second:.1f} it/s")
    if progress.eta_seconds:
        words.append(f"{duration(round(progress.eta_seconds)).replace('.0 s', ' s')} left")
    return " ".join(words)


def connection_words(view: View, now: float) -> str:
    """`connected 3 min`; coarse, so that it seldom changes, but for a lost one, which is told by the second."""
    connection = view.connection
    seconds = max(0.0, now - connection.since)
    if connection.state == "connecting":
        return "connecting ..."
    if connection.state == "lost":
        return f"NO CONNECTION for {duration(int(seconds)) if seconds >= 60 else f'{int(seconds)} s'}: {connection.reason}"
    if seconds < 60:
        return "connected"
    return f"connected {int(seconds // 60)} min" if seconds < 3600 else f"connected {int(seconds // 3600)} h"


def memory_words(view: View) -> str:
    """The fullest device's memory; without a driver what the running job takes, if it tells."""
    used = [one.memory_bytes for one in view.progress.values() if one.memory_bytes]
    known = [readings[-1] for readings in view.gauges.values() if readings and readings[-1].memory_total]
    if not known:
        return f"{max(used) / 2**30:.1f} GiB" if used else ""
    gauge = max(known, key=lambda one: (one.memory_used or 0) / (one.memory_total or 1))
    return f"{(gauge.memory_used or 0) / 2**30:.1f} of {(gauge.memory_total or 0) / 2**30:.0f} GiB"


def fit(words: tuple[str, ...], width: int) -> Text:
    """As many whole parts as there is room for; the first is cut rather than left out."""
    line = ""
    for word in words:
        longer = f"{line} | {word}" if line else word
        if line and len(longer) > width - 2:
            continue
        line = longer
    return Text(f" {line}", no_wrap=True, overflow="ellipsis")
