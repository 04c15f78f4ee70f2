"""Finished comparisons of a session as Markdown: every arm against the baseline and against the placebo, with intervals.

    python tests/bench/arm_tables.py sessions/NAME [COMPARISON ...] [--metrics flaw_probability adherence] [--placebo ARM]

Reads `metrics.csv`. The baseline is the first arm; the placebo that named, else the first of `placebo`, `wrong`, `none-wrong` there is.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from daemon.comparison.effects import CellValues, find_effect, signed
from daemon.comparison.plan import Block

PLACEBOS = ("placebo", "wrong", "none-wrong")
IDENTITY = ("block", "prompt", "seed", "arm", "image")


def read(path: Path) -> tuple[list[Block], list[str], CellValues]:
    """Blocks and arms in their order, and the figures of each cell."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    blocks = {int(row["block"]): Block(int(row["block"]), row["prompt"], int(row["seed"])) for row in rows}
    values = {
        (int(row["block"]), row["arm"]): {name: float(text) for name, text in row.items() if name not in IDENTITY and text} for row in rows
    }
    return list(blocks.values()), list(dict.fromkeys(row["arm"] for row in rows)), values


def table(path: Path, metrics: list[str], placebo: str | None = None) -> str:
    """A row an arm; per metric its mean and the paired differences. Bold: the interval leaves zero out.

    Where each `target-SETTING` has its `baseline-SETTING`, the difference from that one too.
    """
    blocks, arms, values = read(path)
    against = [arms[0], *((placebo,) if placebo else tuple(name for name in PLACEBOS if name in arms)[:1])]
    against = [name for number, name in enumerate(against) if name not in against[:number]]
    partners = {f"target-{setting}": arm for arm in arms for kind, _, setting in [arm.partition("-")] if kind == "baseline" and setting}
    own_baseline = ["- its baseline"] if partners.keys() & set(arms) else []
    heads = ["arm", *(head for metric in metrics for head in (metric, *(f"- {name}" for name in against), *own_baseline))]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for arm in arms:
        cells = [f"`{arm}`"]
        for metric in metrics:
            own = [values[block.index, arm][metric] for block in blocks if metric in values[block.index, arm]]
            cells.append(f"{sum(own) / len(own):.3f}" if own else "")
            compared = [*against, *(partners.get(arm, arm) for _ in own_baseline)]
            cells += [_difference(metric, arm, other, blocks, values) for other in compared]
        lines.append(f"| {' | '.join(cells)} |")
    return f"{len(blocks)} blocks\n\n" + "\n".join(lines)


def _difference(metric: str, arm: str, against: str, blocks: list[Block], values: CellValues) -> str:
    effect = find_effect(metric, arm, against, blocks, values) if arm != against else None
    if effect is None:
        return ""
    text = f"{signed(effect.difference)} [{signed(effect.low)}, {signed(effect.high)}]"
    return text if effect.verdict == "unclear" else f"**{text}**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    parser.add_argument("comparisons", nargs="*")
    parser.add_argument("--metrics", nargs="+", default=["flaw_probability", "adherence"])
    parser.add_argument("--placebo")
    parsed = parser.parse_args()
    found = sorted(path.parent.name for path in parsed.session.glob("comparisons/*/metrics.csv"))
    for name in parsed.comparisons or found:
        print(f"### {name}\n\n{table(parsed.session / 'comparisons' / name / 'metrics.csv', parsed.metrics, parsed.placebo)}\n")


if __name__ == "__main__":
    main()
