"""A sweep: every cell of a grid is an arm, painted round by round; what clearly loses stops. Torch-free until something is measured.

Which cells stop follows from the pictures alone, so a sweep that was killed anywhere goes the same way again and ends with the same table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.comparison.arms import Arm, resolve_arms
from daemon.comparison.effects import CellValues
from daemon.comparison.folder import measure_records, read_summary
from daemon.comparison.painting import IMAGES_FOLDER, cell_record, paint_cells
from daemon.comparison.plan import Block, Cell, plan_blocks, plan_cells, prompt_clusters
from daemon.comparison.sweep.outputs import Finished, Summary, write_outputs
from daemon.comparison.sweep.racing import Stop, find_losers, look_points
from daemon.comparison.sweep.tables import SWEEPS_FOLDER, make_table, stop_in_words
from daemon.engine.base import ModelIdentity
from daemon.measuring.measures import PLAIN, Scorer, find_scorers
from daemon.measuring.metrics import METRICS, QUALITY, Metric
from daemon.pictures import PaintPace
from daemon.prompts.lines import read_prompts_file
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.errors import NegError
from daemon.protocol.events import CellStopped, DurableEvent, ImageSaved, SweepSaved
from daemon.protocol.specs import ImageRecord, SweepJob
from daemon.protocol.sweep_spec import cell_arms, require_sound_sweep
from daemon.protocol.sweeps import SweepTable
from daemon.recipe import JobContext

LAYOUT_VERSION = 1
"""Goes up when a table, a sheet or a statistic changes, so that they are made again."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides a sweep's files; its hash tells whether they are up to date."""

    layout_version: int
    job: SweepJob
    identity: ModelIdentity
    pictures: tuple[tuple[int, str, str], ...]
    """(block, cell, sha256)."""
    scorers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A sweep as resolved on this machine. `cells` by (block's index, arm's name)."""

    job: SweepJob
    identity: ModelIdentity
    arms: tuple[Arm, ...]
    blocks: tuple[Block, ...]
    cells: dict[tuple[int, str], Cell]
    scorers: tuple[Scorer, ...]
    metric: Metric


class Race:
    """The cells that still run, what was measured, and who stopped when."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.running = [arm.name for arm in plan.arms]
        self.stops: dict[str, tuple[int, Stop]] = {}
        """Cell -> after how many blocks, and why."""
        self.values: CellValues = {}
        self.records: dict[tuple[int, str], ImageRecord] = {}

    def rounds(self) -> Iterator[Sequence[Block]]:
        """The blocks between two looks; one round where nothing races."""
        blocks, spec = self._plan.blocks, self._plan.job.sweep
        points = look_points(len(blocks), spec.first_look) if spec.racing else ()
        for begin, end in zip((0, *points), (*points, len(blocks)), strict=True):
            yield blocks[begin:end]

    def look(self, num_blocks: int) -> dict[str, tuple[int, Stop]]:
        """Stop who clearly loses after the first so many blocks; returns these."""
        plan, name = self._plan, self._plan.metric.name
        told = [block for block in plan.blocks[:num_blocks] if all(name in self.values[block.index, cell] for cell in self.running)]
        if not told:
            return {}
        figures = {cell: [self.values[block.index, cell][name] for block in told] for cell in self.running}
        num_looks = len(look_points(len(plan.blocks), plan.job.sweep.first_look))
        tail = plan.job.sweep.error_rate / num_looks / (len(plan.arms) - 1)
        losers = find_losers(figures, prompt_clusters(told), plan.metric.better, tail)
        found = {stop.cell: (num_blocks, stop) for stop in losers}
        self.stops |= found
        self.running = [cell for cell in self.running if cell not in found]
        return found


def sweep(job: SweepJob, context: JobContext) -> Iterator[DurableEvent]:
    """Yield an `ImageSaved` per picture, a `CellStopped` where one loses, then the `SweepSaved`. What is there is not made again.

    Raises `NegError` in words: an empty grid, an adapter not trained, no measure that tells better from worse, a full disk.
    """
    with context.phase("identify"):
        plan = _plan(job, context)
    race, folder, done = Race(plan), context.session_path / SWEEPS_FOLDER / job.sweep.output_name, 0
    for blocks in race.rounds():
        yield from _paint(plan, race, blocks, context)
        with context.phase("measure"):
            _measure(plan, race, blocks, context)
        done += len(blocks)
        if done < len(plan.blocks):
            for cell, (num_blocks, stop) in race.look(done).items():
                reason = stop_in_words(stop, num_blocks, plan.metric)
                yield CellStopped(job_id=context.job_id, session=context.session, name=job.sweep.output_name, cell=cell, reason=reason)
    yield _saved(_finish(plan, race, folder, context), context)


def _plan(job: SweepJob, context: JobContext) -> Plan:
    require_sound_sweep(job.sweep)
    spec = job.comparison
    more = read_prompts_file(context.session_path, spec.prompts_file) if spec.prompts_file else ()
    blocks = spread(plan_blocks(spec, more))
    scorers = (PLAIN, *find_scorers(spec, context.session_path))
    metric = _deciding(job)
    arms = resolve_arms(cell_arms(job.sweep), context.session_path, context.engine)
    identity = context.engine.identify(job.model)
    cells = {(cell.block.index, cell.arm.name): cell for cell in plan_cells(spec, blocks, arms, identity)}
    return Plan(job, identity, arms, blocks, cells, scorers, metric)


def spread(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The first seed of every prompt, then the second, and so on: the first rounds see as many prompts as they can. Numbered anew."""
    turns: defaultdict[str, int] = defaultdict(int)
    keyed = []
    for block in blocks:
        keyed.append((turns[block.prompt], block))
        turns[block.prompt] += 1
    ordered = sorted(keyed, key=lambda pair: pair[0])
    return tuple(Block(index, block.prompt, block.seed) for index, (_, block) in enumerate(ordered))


def _deciding(job: SweepJob) -> Metric:
    asked = job.comparison.scorers
    there = [name for name in QUALITY if METRICS[name].scorer in asked]
    if not there:
        raise NegError(
            "invalid",
            "A sweep needs a measure that tells better from worse, and comparison.scorers names none.",
            'Add one, as scorers = ["toy-probe"] for the toy model.',
        )
    wanted = job.sweep.metric
    if wanted is not None and wanted not in there:
        raise NegError("invalid", f"sweep.metric {wanted!r} is not among what decides here: {', '.join(there)}.", "Name one of these.")
    return METRICS[wanted or there[0]]


def _paint(plan: Plan, race: Race, blocks: Sequence[Block], context: JobContext) -> Generator[ImageSaved, None, None]:
    """Block by block all running cells."""
    places = {arm.name: number for number, arm in enumerate(plan.arms)}
    pace = PaintPace(context, "paint", len(plan.blocks) * len(plan.arms))
    for block in blocks:
        context.check()
        cells = [plan.cells[block.index, name] for name in race.running]
        first = block.index * len(plan.arms)
        for number, picture in paint_cells(pace, plan.job.model, cells, context.session_path, first):
            name = race.running[number]
            record = race.records[block.index, name] = cell_record(cells[number], picture)
            yield pace.saved(record, first + places[name], reused=picture.reused)


def _measure(plan: Plan, race: Race, blocks: Sequence[Block], context: JobContext) -> None:
    keys = [(block.index, name) for block in blocks for name in race.running]
    found = measure_records(context, [race.records[key] for key in keys], plan.scorers)
    race.values = {**race.values, **{key: found[race.records[key].sha256] for key in keys}}


def _finish(plan: Plan, race: Race, folder: Path, context: JobContext) -> SweepTable:
    pictures = tuple((index, name, record.sha256) for (index, name), record in sorted(race.records.items()))
    inputs = Inputs(
        layout_version=LAYOUT_VERSION,
        job=plan.job,
        identity=plan.identity,
        pictures=pictures,
        scorers=tuple(scorer.version for scorer in plan.scorers),
    )
    inputs_sha256 = canonical_sha256(inputs)
    summary = read_summary(folder, Summary, inputs_sha256)
    if summary is not None:
        return summary.table
    context.check()
    with context.phase("report"):
        made = make_table(plan.job.sweep, plan.blocks, race.values, race.stops, plan.metric)
        finished = Finished(plan.job, made, plan.arms, plan.blocks, race.records, race.values)
        return write_outputs(finished, folder, context.session_path / IMAGES_FOLDER, inputs_sha256, context.check)


def _saved(table: SweepTable, context: JobContext) -> SweepSaved:
    folder = f"{SWEEPS_FOLDER}/{table.name}"
    return SweepSaved(
        job_id=context.job_id,
        session=context.session,
        name=table.name,
        table_path=f"{folder}/table.csv",
        sheet_path=f"{folder}/sheet.png",
        best=next(cell.name for cell in table.cells if cell.verdict == "best"),
        num_cells=len(table.cells),
        num_stopped=sum(bool(cell.stopped) for cell in table.cells),
        verdict=table.verdict,
    )
