"""What a sweep found, as a table: every cell's means, its paired difference to the best one, who stopped and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from daemon.comparison.effects import CellValues, arm_means, figure, signed
from daemon.comparison.plan import Block, prompt_clusters
from daemon.comparison.stats import Interval, paired_bootstrap
from daemon.comparison.sweep.racing import Stop, look_points
from daemon.measuring.metrics import METRICS, Metric, present
from daemon.protocol.errors import NegError
from daemon.protocol.sweep_spec import FINISHED, SweepSpec, cell_arms, swept_adapter
from daemon.protocol.sweeps import SweepCell, SweepTable
from daemon.student import MIN_CLUSTERS

SWEEPS_FOLDER = "sweeps"
CONFIDENCE = 0.95

Stops = Mapping[str, tuple[int, Stop]]


def axes_of(spec: SweepSpec) -> tuple[str, ...]:
    """The axes that are swept, outermost first, by the name of one of their values."""
    named = {
        "checkpoint": spec.checkpoints,
        "weight": spec.weights,
        "guidance_scale": spec.guidance_scales,
        "guidance_window": spec.guidance_windows,
    }
    return tuple(name for name, values in named.items() if values)


def cell_values(spec: SweepSpec) -> dict[str, dict[str, str]]:
    """Cell -> its value on every axis, in words."""
    found = {}
    for arm in cell_arms(spec):
        use = next((use for use in arm.adapters if use.name == swept_adapter(spec)), None)
        every = {
            "checkpoint": FINISHED if use is None or use.checkpoint is None else str(use.checkpoint),
            "weight": "" if use is None else f"{use.weight:g}",
            "guidance_scale": "" if arm.guidance_scale is None else f"{arm.guidance_scale:g}",
            "guidance_window": f"{arm.guidance_start:g} to {arm.guidance_end:g}",
        }
        found[arm.name] = {axis: every[axis] for axis in axes_of(spec)}
    return found


def make_table(spec: SweepSpec, blocks: Sequence[Block], values: CellValues, stops: Stops, metric: Metric) -> SweepTable:
    """The cells in the grid's order. The best is the one with the best mean among those that ran to the end.

    Raises `NegError` `invalid` where no picture has the deciding metric.
    """
    names = cell_values(spec)
    means = arm_means(list(names), values)
    finished = [name for name in names if name not in stops and metric.name in means[name]]
    if not finished:
        raise NegError("invalid", f"No picture of the sweep has a {metric.name}.", "Set sweep.metric to another measure.")
    sign = 1.0 if metric.better == "lower" else -1.0
    best = min(finished, key=lambda name: sign * means[name][metric.name])
    cells = tuple(_cell(name, names[name], means[name], best, blocks, values, stops, metric) for name in names)
    num_pictures = len(values)
    table = SweepTable(
        name=spec.output_name,
        metric=metric.name,
        better="higher" if metric.better == "higher" else "lower",
        axes=axes_of(spec),
        cells=cells,
        num_blocks=len(blocks),
        num_pictures=num_pictures,
        num_spared=len(blocks) * len(names) - num_pictures,
        num_looks=len(look_points(len(blocks), spec.first_look)) if spec.racing else 0,
        confidence=CONFIDENCE,
        verdict="",
    )
    return msgspec.structs.replace(table, verdict=_verdict(table, best))


def stop_in_words(stop: Stop, num_blocks: int, metric: Metric) -> str:
    """`stopped after 64 blocks: flaw_probability 0.412 against 0.201 of w1-g5, worse by at least 0.050`"""
    means = f"{metric.name} {figure(stop.mean)} against {figure(stop.leader_mean)} of {stop.leader}"
    return f"stopped after {num_blocks} blocks: {means}, worse by at least {figure(stop.bound)}"


def table_rows(table: SweepTable) -> tuple[list[str], list[list[str]]]:
    """(headings, rows) of the table as people read it."""
    metrics = present(cell.means for cell in table.cells)
    shown = [table.metric, *(name for name in metrics if name != table.metric and METRICS[name].better != "neither")]
    headings = [*table.axes, "blocks", *shown, "against the best", ""]
    rows = []
    for cell in table.cells:
        against = "" if cell.difference is None else signed(cell.difference)
        if cell.low is not None and cell.high is not None:
            against += f" [{signed(cell.low)}, {signed(cell.high)}]"
        figures = [figure(cell.means[name]) if name in cell.means else "" for name in shown]
        said = cell.stopped or {"best": "best", "worse": "worse", "unclear": "not clearly worse"}[cell.verdict]
        rows.append([*(cell.values[axis] for axis in table.axes), str(cell.num_blocks), *figures, against, said])
    return headings, rows


def _cell(
    name: str,
    axis_values: dict[str, str],
    means: dict[str, float],
    best: str,
    blocks: Sequence[Block],
    values: CellValues,
    stops: Stops,
    metric: Metric,
) -> SweepCell:
    num_blocks = sum((block.index, name) in values for block in blocks)
    cell = SweepCell(name=name, values=axis_values, num_blocks=num_blocks, means=means)
    if name == best:
        return msgspec.structs.replace(cell, verdict="best")
    stopped = stop_in_words(stops[name][1], stops[name][0], metric) if name in stops else ""
    interval = _against(name, best, blocks, values, metric.name)
    if interval is None:
        return msgspec.structs.replace(cell, stopped=stopped)
    has_interval = interval.confidence > 0
    worse = interval.low > 0 if metric.better == "lower" else interval.high < 0
    is_worse = bool(stopped) or (has_interval and interval.num_clusters >= MIN_CLUSTERS and worse)
    return msgspec.structs.replace(
        cell,
        difference=interval.mean,
        low=interval.low if has_interval else None,
        high=interval.high if has_interval else None,
        verdict="worse" if is_worse else "unclear",
        stopped=stopped,
    )


def _against(name: str, best: str, blocks: Sequence[Block], values: CellValues, metric: str) -> Interval | None:
    """The paired difference to the best cell over the blocks that both have."""
    both = [block for block in blocks if metric in values.get((block.index, name), {}) and metric in values.get((block.index, best), {})]
    if not both:
        return None
    differences = [values[block.index, name][metric] - values[block.index, best][metric] for block in both]
    return paired_bootstrap(differences, prompt_clusters(both), confidence=CONFIDENCE)


def _verdict(table: SweepTable, best: str) -> str:
    cells = {cell.name: cell for cell in table.cells}
    stopped = [cell for cell in table.cells if cell.stopped]
    worse = [cell for cell in table.cells if cell.verdict == "worse" and not cell.stopped]
    unclear = [cell for cell in table.cells if cell.verdict == "unclear"]
    said = [f"On {table.metric}, {best} is best: {figure(cells[best].means[table.metric])} over {table.num_blocks} blocks."]
    if stopped:
        said.append(f"{len(stopped)} of {len(table.cells)} cells stopped early as clearly worse, sparing {table.num_spared} pictures.")
    if worse:
        others = f"{len(worse)} more" if stopped else f"{len(worse)} of {len(table.cells)} cells"
        said.append(f"{others} {'is' if len(worse) == 1 else 'are'} clearly worse at the end.")
    if unclear:
        names = ", ".join(cell.name for cell in unclear[:6]) + (" and others" if len(unclear) > 6 else "")
        said.append(f"Not clearly worse than it: {names}.")
    return " ".join(said)
