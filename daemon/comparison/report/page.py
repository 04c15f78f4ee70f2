"""The report of a comparison: one HTML file with everything inside, read offline by keyboard, in light and dark, and on paper.

Its own policy (`Content-Security-Policy`) lets nothing be fetched and no script run but the one below, so that a prompt cannot.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2
import msgspec

from daemon.comparison.claims import find_roles
from daemon.comparison.effects import figure, signed
from daemon.comparison.findings import Findings, note
from daemon.comparison.plan import Block
from daemon.comparison.report.charts import diagnosis_charts
from daemon.comparison.report.forest import SHARES, find_axis
from daemon.comparison.report.headline import find_headline
from daemon.comparison.report.maps import map_rows
from daemon.comparison.report.pictures import choose_shown, data_uri, picture_path
from daemon.comparison.report.settings import command, confounds, settings
from daemon.comparison.report.votes import strength_axis
from daemon.judging.verdicts import percent
from daemon.measuring.metrics import METRICS, QUALITY, present
from daemon.protocol.effects import Effect

FOLDER = Path(__file__).parent
SMALL_PIXELS = 256
"""Pictures with a smaller side are enlarged with hard edges: smoothing would hide the flaws that are looked for."""
MAX_OPEN_EFFECTS = 60
"""With more, those that describe the look only are shown when they are asked for."""


def render_page(findings: Findings, images_path: Path) -> str:
    """The HTML text; pictures are the thumbnails of `images_path` as data URIs. The same findings give the same text."""
    shown = choose_shown(findings, images_path)
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    spec, metrics = findings.job.comparison, present(findings.means.values())
    by_metric = {name: [effect for effect in findings.effects if effect.metric == name] for name in metrics}

    def source(block: Block, arm: str) -> str:
        return data_uri(picture_path(findings, images_path, block, arm, shown.pixels))

    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            f=findings,
            spec=spec,
            headline=find_headline(findings),
            metrics=[METRICS[name] for name in metrics],
            quality=[METRICS[name] for name in QUALITY if by_metric.get(name)],
            look=[METRICS[name] for name in metrics if name not in QUALITY and by_metric[name]],
            effects=by_metric,
            axes={name: find_axis(effects) for name, effects in by_metric.items() if effects},
            settings=settings(findings),
            command=command(findings.job),
            asked=msgspec.json.format(msgspec.json.encode(findings.job), indent=2).decode(),
            confounds=confounds(findings),
            interval=_interval,
            shares=SHARES,
            strengths=None if findings.votes is None else strength_axis(findings.votes),
            charts=[] if findings.diagnosis is None else diagnosis_charts(findings.diagnosis),
            maps=map_rows(findings, images_path.parent / spec.output_name),
            maps_against=roles.baseline if (roles := find_roles(findings.arms)) else findings.arms[0].name,
            shown=shown,
            num_prompts=len({block.prompt for block in findings.blocks}),
            is_small=min(spec.width, spec.height) < SMALL_PIXELS,
            source=source,
            gain=_gain(findings),
            style=style,
            script=script,
            policy="; ".join(
                ("default-src 'none'", "img-src data:", f"style-src '{_hash(style)}'", f"script-src '{_hash(script)}'", "base-uri 'none'")
            ),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "figure": figure, "signed": _signed, "words": lambda name: name.replace("_", " ")}
    environment.globals |= {"note": note, "MAX_OPEN_EFFECTS": MAX_OPEN_EFFECTS}
    return environment


def _signed(value: float) -> str:
    return signed(value).replace("-", "\N{MINUS SIGN}")


def _interval(effect: Effect) -> str:
    """For those who cannot see the plot."""
    words = f"{signed(effect.difference)}"
    return f"{words}, from {signed(effect.low)} to {signed(effect.high)}" if effect.confidence else words


def _gain(findings: Findings) -> dict[int, float]:
    """By block: how much better the last arm is than the first on the first measure of quality; empty where nothing measures it."""
    first, last = findings.arms[0].name, findings.arms[-1].name
    found: dict[int, float] = {}
    metric = next((METRICS[name] for name in QUALITY if name in findings.means[first]), None)
    if metric is None or first == last:
        return found
    for block in findings.blocks:
        here, there = (findings.values[block.index, arm].get(metric.name) for arm in (last, first))
        if here is not None and there is not None:
            found[block.index] = round((here - there) * (1 if metric.better == "higher" else -1), 6)
    return found


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
