"""The report of a comparison: one HTML file with its pictures inside, readable offline, in light and dark, without scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from daemon.comparison.arms import Arm
from daemon.comparison.effects import figure, signed
from daemon.comparison.findings import Findings, note
from daemon.comparison.metrics import METRICS
from daemon.comparison.plan import Block
from daemon.pictures import thumbnail_path
from daemon.protocol.events import Effect

MAX_BLOCKS_SHOWN = 200
LARGE_PICTURES_BLOCKS = 16
"""Up to so many blocks the pictures are 512 px, beyond that 256."""


@dataclass(frozen=True)
class Bar:
    """An effect's interval on its metric's axis, in percent of the axis."""

    low: float
    high: float
    middle: float
    zero: float


def render_report(findings: Findings, images_path: Path) -> str:
    """The HTML text; pictures are the thumbnails of `images_path` as data URIs. The same findings give the same text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "signed": signed}
    shown = findings.blocks[:MAX_BLOCKS_SHOWN]
    pixels = 512 if len(shown) <= LARGE_PICTURES_BLOCKS else 256

    def data_uri(block: Block, arm: Arm) -> str:
        content = thumbnail_path(images_path, findings.picture_ids[block.index, arm.name], pixels).read_bytes()
        return f"data:image/webp;base64,{base64.b64encode(content).decode()}"

    return environment.get_template("report.html.j2").render(
        f=findings,
        spec=findings.job.comparison,
        metrics=[METRICS[name] for name in METRICS if any(name in own for own in findings.means.values())],
        bars={id(effect): bar for effect, bar in zip(findings.effects, effect_bars(findings.effects), strict=True)},
        identify=id,
        settings=settings(findings),
        confounds=confounds(findings),
        shown=shown,
        num_prompts=len({block.prompt for block in findings.blocks}),
        data_uri=data_uri,
        note=note,
    )


def effect_bars(effects: Sequence[Effect]) -> list[Bar]:
    """Where each interval lies on an axis that all effects of its metric share and that holds zero."""
    bars = []
    for effect in effects:
        same = [other for other in effects if other.metric == effect.metric]
        left, right = min(0.0, *(other.low for other in same)), max(0.0, *(other.high for other in same))
        span = (right - left) or 1.0
        left, span = left - 0.05 * span, 1.1 * span
        bars.append(Bar(*(round(100 * (x - left) / span, 2) for x in (effect.low, effect.high, effect.difference, 0.0))))
    return bars


def settings(findings: Findings) -> list[tuple[str, str]]:
    """Names and values of everything that decides the pictures, in the order a reader asks for them."""
    model, spec, identity = findings.job.model, findings.job.comparison, findings.identity
    refined = identity.refiner_sha256 is not None and spec.denoising_split is not None
    rows = [("base", model.base), ("base sha256", identity.base_sha256)]
    if refined:
        rows += [("refiner", model.refiner or ""), ("refiner sha256", identity.refiner_sha256 or "")]
        rows.append(("denoising split", f"{spec.denoising_split:g}"))
    if model.vae is not None:
        rows += [("vae", model.vae), ("vae sha256", identity.vae_sha256 or "")]
    rows += [
        ("torch_dtype", identity.torch_dtype),
        ("num_inference_steps", str(spec.num_inference_steps)),
        ("guidance_scale", f"{spec.guidance_scale:g}"),
        ("size", f"{spec.width} x {spec.height}"),
    ]
    for arm in findings.arms:
        rows += [(f"adapter in {arm.name}", f"weight {use.weight:g}, sha256 {use.sha256}") for use in arm.adapters]
        rows += [(f"embedding in {arm.name}", f"{one.placeholder_token}, sha256 {one.sha256}") for one in arm.embeddings]
    return [*rows, ("measured by", ", ".join(findings.scorers))]


def confounds(findings: Findings) -> list[str]:
    """What else than the adapter may explain a difference between these arms; see `method.md`, section 2."""
    arms, spec = findings.arms, findings.job.comparison
    negatives = {arm.negative_prompt for arm in arms}
    found = []
    if None in negatives and len(negatives) > 1:
        found.append(
            "Arms without a negative prompt get zeroed embeddings, the others those of real words. That alone changes a picture: "
            "judge an adapter against an arm with the same negative prompt."
        )
    if len(negatives) > 1 and findings.identity.refiner_sha256 is not None and spec.denoising_split is not None:
        found.append("The refiner gets the arm's negative prompt too, so it also differs between arms.")
    if any(arm.adapters for arm in arms):
        found.append("An adapter acts on both branches of classifier-free guidance: it changes the positive prediction too.")
    if len({block.seed for block in findings.blocks}) == 1:
        found.append("Every prompt was painted with the same single seed.")
    if len({block.prompt for block in findings.blocks}) == 1:
        found.append("There is one prompt only: the intervals speak of its seeds, not of other prompts.")
    if any(scorer.startswith("toy-probe") for scorer in findings.scorers):
        found.append(
            "Flaw probability and adherence are the opinion of a small network trained on drawn scenes. No person judged these pictures."
        )
    if len(findings.effects) > 1:
        found.append(
            f"There are {len(findings.effects)} intervals here, each at its own 95 %: about one in twenty misses the truth by chance."
        )
    return [*found, "Sharpness, texture, contrast, saturation, brightness and their kin describe a look. More of them is not better."]
