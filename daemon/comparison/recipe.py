"""Act 3: paint every block by every arm, measure the pictures, and say what differs. Torch-free until something must be measured."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from PIL import Image

from daemon.comparison.arms import Arm, resolve_arms
from daemon.comparison.claims import find_claims, find_roles
from daemon.comparison.diagnosis import Watched, diagnose
from daemon.comparison.diversity import METRIC as DIVERSITY
from daemon.comparison.diversity import find_diversity
from daemon.comparison.effects import CellValues, arm_means, find_effects, verdict_in_words
from daemon.comparison.features import MAX_PIXELS, features
from daemon.comparison.findings import Findings
from daemon.comparison.folder import measure_records, read_summary
from daemon.comparison.outputs import Summary, write_outputs
from daemon.comparison.painting import COMPARISONS_FOLDER, IMAGES_FOLDER, cell_record, paint_cells
from daemon.comparison.plan import Block, Cell, plan_blocks, plan_cells
from daemon.engine.base import ModelIdentity
from daemon.judging.results import read_results
from daemon.manifest import MANIFEST_FILE, Manifest
from daemon.measuring.measures import PLAIN, Scorer, find_scorers
from daemon.pictures import PaintPace, thumbnail_path
from daemon.prompts.lines import read_prompts_file
from daemon.protocol.codec import canonical_sha256
from daemon.protocol.diagnosis import Diagnosis
from daemon.protocol.errors import NegError
from daemon.protocol.events import ComparisonSaved, DurableEvent, ImageSaved
from daemon.protocol.specs import CompareJob, ComparisonSpec, ImageRecord, ModelSpec
from daemon.protocol.voting import VoteResults
from daemon.recipe import JobContext

LAYOUT_VERSION = 8
"""Goes up when the sheet, the report or a statistic changes, so that they are made again."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides a comparison's files; its hash tells whether they are up to date."""

    layout_version: int
    session: str
    model: ModelSpec
    comparison: ComparisonSpec
    identity: ModelIdentity
    pictures: tuple[tuple[int, str, str], ...]
    """(block, arm, sha256) of every cell."""
    scorers: tuple[str, ...]
    votes: VoteResults | None


@dataclass(frozen=True)
class Comparison:
    """A comparison as resolved on this machine."""

    job: CompareJob
    identity: ModelIdentity
    arms: tuple[Arm, ...]
    blocks: tuple[Block, ...]
    cells: tuple[Cell, ...]
    scorers: tuple[Scorer, ...]


def compare(job: CompareJob, context: JobContext) -> Iterator[DurableEvent]:
    """Yield an `ImageSaved` per cell, then the `ComparisonSaved`. What exists for the same inputs is told again, not made again.

    Raises `NegError` in words: an adapter not trained, no prompts, a scorer without weights, a full disk.
    """
    with context.phase("identify"):
        comparison = _resolve(job, context)
    folder = context.session_path / COMPARISONS_FOLDER / job.comparison.output_name
    records = yield from _paint(comparison, context, Manifest(folder / MANIFEST_FILE))
    votes = _votes(comparison, records, folder)
    inputs_sha256 = _inputs_sha256(comparison, records, votes)
    summary = read_summary(folder, Summary, inputs_sha256)
    if summary is None:
        with context.phase("measure"):
            values = _measure(comparison, records, context)
        diagnosis = None
        if job.comparison.diagnose_blocks:
            with context.phase("diagnose"):
                diagnosis = _diagnose(comparison, records, context, folder)
        context.check()
        with context.phase("report"):
            findings = replace(_find(comparison, records, values, context), diagnosis=diagnosis, votes=votes)
            summary = write_outputs(findings, records, folder, inputs_sha256, context.check)
    yield _saved(summary, context)


def _resolve(job: CompareJob, context: JobContext) -> Comparison:
    spec = job.comparison
    if f"{COMPARISONS_FOLDER}/{spec.output_name}" == IMAGES_FOLDER:
        raise NegError("invalid", "A comparison cannot be called `images`: its pictures lie there.", "Change comparison.output_name.")
    more = read_prompts_file(context.session_path, spec.prompts_file) if spec.prompts_file else ()
    blocks = plan_blocks(spec, more)
    scorers = (PLAIN, *find_scorers(spec, context.session_path))
    arms = resolve_arms(spec.arms, context.session_path, context.engine)
    identity = context.engine.identify(job.model)
    return Comparison(job, identity, arms, blocks, plan_cells(spec, blocks, arms, identity), scorers)


def _paint(comparison: Comparison, context: JobContext, manifest: Manifest) -> Generator[ImageSaved, None, list[ImageRecord]]:
    """Yield every cell's picture; the generator's value is the records in the cells' order."""
    cells, num_arms = comparison.cells, len(comparison.arms)
    records: dict[int, ImageRecord] = {}
    pace = PaintPace(context, "paint", len(cells))
    for first in range(0, len(cells), num_arms):
        context.check()
        block = cells[first : first + num_arms]
        for number, picture in paint_cells(pace, comparison.job.model, block, context.session_path, first):
            index = first + number
            known = manifest.find(picture.id, cells[index].arm.name)
            records[index] = cell_record(cells[index], picture, known.status if known else "undecided")
            yield pace.saved(records[index], index, reused=picture.reused)
    return [records[index] for index in range(len(cells))]


def _measure(comparison: Comparison, records: Sequence[ImageRecord], context: JobContext) -> CellValues:
    found = measure_records(context, records, comparison.scorers)
    return {(cell.block.index, cell.arm.name): found[record.sha256] for cell, record in zip(comparison.cells, records, strict=True)}


def _diagnose(comparison: Comparison, records: Sequence[ImageRecord], context: JobContext, folder: Path) -> Diagnosis:
    """Of the first `diagnose_blocks` blocks; their cells come first."""
    num_arms, num_blocks = len(comparison.arms), min(comparison.job.comparison.diagnose_blocks, len(comparison.blocks))
    roles = find_roles(comparison.arms)
    baseline = roles.baseline if roles is not None else comparison.arms[0].name
    places = [slice(number * num_arms, (number + 1) * num_arms) for number in range(num_blocks)]
    blocks = [Watched(comparison.cells[place], tuple(records[place]), baseline) for place in places]
    adapters = [use.name for arm in comparison.job.comparison.arms for use in arm.adapters]
    return diagnose(context, comparison.job.model, blocks, adapters, folder)


def _votes(comparison: Comparison, records: Sequence[ImageRecord], folder: Path) -> VoteResults | None:
    """Of the pictures as they are now."""
    cells = zip(comparison.cells, records, strict=True)
    current = {(cell.block.prompt, cell.block.seed, cell.arm.name, record.sha256) for cell, record in cells}
    return read_results(folder, [arm.name for arm in comparison.arms], current)


def _find(comparison: Comparison, records: Sequence[ImageRecord], values: CellValues, context: JobContext) -> Findings:
    names = [arm.name for arm in comparison.arms]
    measured = _with_diversity(comparison, records, values, context)
    effects = find_effects(comparison.blocks, names, measured)
    return Findings(
        job=comparison.job,
        identity=comparison.identity,
        arms=comparison.arms,
        blocks=comparison.blocks,
        picture_ids={(cell.block.index, cell.arm.name): record.id for cell, record in zip(comparison.cells, records, strict=True)},
        values=values,
        means=arm_means(names, measured),
        effects=effects,
        verdict=verdict_in_words(effects, names, len({block.prompt for block in comparison.blocks})),
        scorers=tuple(scorer.version for scorer in comparison.scorers),
        claims=find_claims(comparison.blocks, find_roles(comparison.arms), values),
    )


def _with_diversity(comparison: Comparison, records: Sequence[ImageRecord], values: CellValues, context: JobContext) -> CellValues:
    """The figures of the cells, and at some of them what their arm's diversity is made of."""
    found = {}
    for cell, record in zip(comparison.cells, records, strict=True):
        context.check()
        with Image.open(thumbnail_path(context.session_path / IMAGES_FOLDER, record.id, MAX_PIXELS)) as image:
            found[cell.block.index, cell.arm.name] = features(image)
    diversity = find_diversity(comparison.blocks, [arm.name for arm in comparison.arms], found)
    return {place: own | ({DIVERSITY: diversity[place]} if place in diversity else {}) for place, own in values.items()}


def _inputs_sha256(comparison: Comparison, records: Sequence[ImageRecord], votes: VoteResults | None) -> str:
    cells = zip(comparison.cells, records, strict=True)
    inputs = Inputs(
        layout_version=LAYOUT_VERSION,
        session=comparison.job.session,
        model=comparison.job.model,
        comparison=comparison.job.comparison,
        identity=comparison.identity,
        pictures=tuple((cell.block.index, cell.arm.name, record.sha256) for cell, record in cells),
        scorers=tuple(scorer.version for scorer in comparison.scorers),
        votes=votes,
    )
    return canonical_sha256(inputs)


def _saved(summary: Summary, context: JobContext) -> ComparisonSaved:
    folder = f"{COMPARISONS_FOLDER}/{summary.name}"
    return ComparisonSaved(
        job_id=context.job_id,
        session=context.session,
        name=summary.name,
        report_path=f"{folder}/report.html",
        sheet_path=f"{folder}/sheet.png",
        effects=summary.effects,
        verdict=summary.verdict,
        claims=summary.claims,
    )
