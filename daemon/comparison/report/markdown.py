"""The report once more, as Markdown: for a repository, a terminal, a note. Without pictures; they are beside it on the sheets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from daemon.comparison.effects import figure, signed, signed_with_interval
from daemon.comparison.findings import Findings
from daemon.comparison.report.headline import find_headline
from daemon.comparison.report.settings import command, confounds, settings
from daemon.judging.verdicts import percent
from daemon.measuring.metrics import present
from daemon.protocol.effects import Claim, Effect
from daemon.protocol.voting import Preference

EFFECT_HEADINGS = ("metric", "arm", "against", "means", "difference", "95 % interval", "blocks", "reading")
CLAIM_HEADINGS = ("claim", "measured by", "against baseline", "against placebo", "held", "verdict", "why")
VOTE_HEADINGS = ("arm", "against", "preferred in", "95 % interval", "won, lost, tied", "verdict")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&])")


def render_markdown(findings: Findings, sheet_names: Sequence[str]) -> str:
    """The text; `sheet_names` lie beside it. The same findings give the same text."""
    spec, headline = findings.job.comparison, find_headline(findings)
    num_prompts = len({block.prompt for block in findings.blocks})
    metrics = present(findings.means.values())
    lines = [
        f"# {escape(findings.job.session)}: {escape(spec.output_name)}",
        "",
        f"**{escape(headline.text)}**: {escape('; '.join(headline.details))}",
        "",
        escape(findings.verdict),
        "",
        f"{len(findings.arms)} arms, {num_prompts} prompts, {len(findings.blocks)} blocks (prompt and seed), "
        f"{len(findings.picture_ids)} pictures of {spec.width} x {spec.height}.",
        *_table("Blind votes", VOTE_HEADINGS, (_vote_row(one) for one in (findings.votes.preferences if findings.votes else ()))),
        *_table("What the model card claims", CLAIM_HEADINGS, (_claim_row(claim) for claim in findings.claims)),
        *_table("Differences", EFFECT_HEADINGS, (_effect_row(effect) for effect in findings.effects)),
        *_table(
            "Arms",
            ("arm", "what it is", *metrics),
            ((arm.name, arm.title, *_means(findings.means[arm.name], metrics)) for arm in findings.arms),
        ),
        "",
        "## What else may explain it",
        "",
        *(f"- {escape(confound)}" for confound in confounds(findings)),
        "",
        "## Pictures",
        "",
        *(f"![{escape(name)}]({name})" for name in sheet_names),
        *_table("Settings", ("setting", "value"), settings(findings)),
        "",
        f"Again: `{command(findings.job)}`. Every cell is in `cells.json` and `metrics.csv`.",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that stays text in Markdown, on one line; a prompt can neither be markup nor end a table's row."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A heading and a table; nothing without rows."""
    written = [f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows]
    if not written:
        return []
    return ["", f"## {title}", "", f"| {' | '.join(headings)} |", "|" + "---|" * len(headings), *written]


def _effect_row(effect: Effect) -> Sequence[str]:
    interval = f"{signed(effect.low)} to {signed(effect.high)}" if effect.confidence else "none"
    means = f"{figure(effect.mean)}, {figure(effect.mean_against)}"
    return effect.metric, effect.arm, effect.against, means, signed(effect.difference), interval, str(effect.num_blocks), effect.verdict


def _claim_row(claim: Claim) -> Sequence[str]:
    effects = [claim.against_baseline, claim.against_placebo, claim.held]
    return (
        claim.statement,
        claim.metric,
        *(signed_with_interval(effect) if effect is not None else "" for effect in effects),
        claim.verdict,
        claim.reading,
    )


def _vote_row(one: Preference) -> Sequence[str]:
    interval = f"{percent(one.low)} to {percent(one.high)}" if one.confidence else "none"
    return one.arm, one.against, percent(one.win_rate), interval, f"{one.num_wins}, {one.num_losses}, {one.num_ties}", one.verdict


def _means(means: Mapping[str, float], metrics: Sequence[str]) -> list[str]:
    return [figure(means[name]) if name in means else "n/a" for name in metrics]
