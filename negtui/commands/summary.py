"""What came of a session's jobs: where the time went, what was made and what was there, the measures, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from daemon.protocol.commands import SessionAnswer
from daemon.protocol.events import AdapterSaved, ComparisonSaved, ImageSaved, JobRow, SweepSaved
from negtui import findings, wording
from negtui.commands.invocation import Daemon, stored_events
from negtui.output import Output, duration, quantity


class ActSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One job. `seconds` from its start to its end; `timings` by phase, as its recipe told them."""

    job: JobRow
    seconds: float | None
    timings: dict[str, float]
    num_images_made: int = 0
    num_images_reused: int = 0
    adapter: AdapterSaved | None = None
    comparison: ComparisonSaved | None = None
    sweep: SweepSaved | None = None

    @property
    def computed(self) -> bool:
        """Whether anything had to be painted or trained."""
        return self.num_images_made > 0 or (self.adapter is not None and not self.adapter.reused)


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag="Summary", tag_field="type"):
    """The last line of `run --json`."""

    session: str
    session_path: str
    acts: tuple[ActSummary, ...]
    computed: bool
    exit_code: int


async def summarise(daemon: Daemon, session: SessionAnswer, rows: Sequence[JobRow], exit_code: int) -> Summary:
    """Read the jobs' stored events."""
    acts = tuple([await _summarise_act(daemon, row) for row in rows])
    computed = any(act.computed for act in acts)
    return Summary(session=session.name, session_path=session.path, acts=acts, computed=computed, exit_code=exit_code)


def print_summary(summary: Summary, output: Output) -> None:
    """For people as lines, for programs as one object."""
    output.object(summary)
    if any(act.seconds is not None for act in summary.acts):
        output.line()
        output.line("Where the time went")
        for line in _time_lines(summary.acts):
            output.line(line)
    images = [
        f"{wording.act(act.job.spec)} {act.num_images_made} made, {act.num_images_reused} reused"
        for act in summary.acts
        if act.num_images_made or act.num_images_reused
    ]
    output.line()
    if images:
        output.result(f"Images    {'; '.join(images)}")
    for act in summary.acts:
        if act.adapter is not None:
            size = f"{act.adapter.num_bytes / 2**20:.1f} MiB"
            output.result(f"Adapter   {_path(summary, act.adapter.path)} ({size}{', reused' if act.adapter.reused else ''})")
            output.result(f"          sha256 {act.adapter.sha256}")
            if act.adapter.step is not None:
                output.result(f"          the weights of step {act.adapter.step}: {act.adapter.reason}")
    for act in summary.acts:
        if act.comparison is not None:
            _print_comparison(summary, act.comparison, output)
        if act.sweep is not None:
            _print_sweep(summary, act.sweep, output)
    if all(act.job.state == "done" for act in summary.acts) and not summary.computed:
        output.result("Nothing had to be computed: everything was there.")


def _print_comparison(summary: Summary, comparison: ComparisonSaved, output: Output) -> None:
    """The claims and what was measured of quality; all the rest is for `negtui results`."""
    if comparison.claims:
        output.result()
        output.result(f"Claims of {comparison.name!r}, held against the figures")
        for line in findings.claims_table(comparison.claims):
            output.result(line)
    shown = findings.quality(comparison.effects) if comparison.claims else comparison.effects
    if shown:
        output.result()
        output.result(f"Measures of {comparison.name!r} over {quantity(shown[0].num_blocks, 'block')} (prompt x seed)")
        for line in wording.effects_table(shown):
            output.result(line)
    if len(shown) < len(comparison.effects):
        output.line(f"  All {len(comparison.effects)} differences: negtui results {summary.session} --comparison {comparison.name} --all")
    output.result()
    output.result(f"Verdict   {comparison.verdict}")
    output.result(f"Sheet     {_path(summary, comparison.sheet_path)}")
    output.result(f"Report    {_path(summary, comparison.report_path)}")


def _print_sweep(summary: Summary, sweep: SweepSaved, output: Output) -> None:
    output.result()
    output.result(f"Verdict   {sweep.verdict}")
    output.result(f"Table     {_path(summary, sweep.table_path)} (negtui results {summary.session} --sweep {sweep.name})")
    output.result(f"Sheet     {_path(summary, sweep.sheet_path)}")


def _time_lines(acts: Sequence[ActSummary]) -> list[str]:
    lines = []
    for act in acts:
        if act.seconds is None:
            continue
        parts = sorted(act.timings.items(), key=lambda part: -part[1])
        told = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts if seconds >= 0.05)
        lines.append(f"  {wording.act(act.job.spec):<11} {duration(act.seconds):>12}   {told}".rstrip())
    total = sum(act.seconds or 0.0 for act in acts)
    return [*lines, f"  {'together':<11} {duration(total):>12}"]


async def _summarise_act(daemon: Daemon, row: JobRow) -> ActSummary:
    made = reused = 0
    adapter: AdapterSaved | None = None
    comparison: ComparisonSaved | None = None
    sweep: SweepSaved | None = None
    async for told in stored_events(daemon, row.id):
        match told.event:
            case ImageSaved():
                made, reused = made + (not told.event.reused), reused + told.event.reused
            case AdapterSaved():
                adapter = told.event
            case ComparisonSaved():
                comparison = told.event
            case SweepSaved():
                sweep = told.event
    seconds = max(0.0, row.finished - row.started) if row.finished and row.started else None
    return ActSummary(
        job=row,
        seconds=seconds,
        timings=row.timings,
        num_images_made=made,
        num_images_reused=reused,
        adapter=adapter,
        comparison=comparison,
        sweep=sweep,
    )


def _path(summary: Summary, path: str) -> str:
    return str(PurePosixPath(summary.session_path) / path)
