"""A comparison as a screen holds it: blocks, arms, what is looked at; differences and crops of pictures; figures in words.

Pure: answers of the contract and Pillow's pictures in, texts and pictures out. Knows neither the daemon nor Textual.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from PIL import Image, ImageChops, ImageStat

from daemon.protocol.commands import ComparedArm, ComparedBlock, ComparedCell, ComparisonAnswer
from daemon.protocol.effects import Effect
from daemon.protocol.events import ImageSaved
from negtui.findings import claim_lines, claim_verdicts, diagnosis_lines
from negtui.output import clean

GAIN = 4
"""How much a difference is brightened: most are faint."""
MIN_COLUMN = 9
"""Cells that the figures of an arm have; more where its name asks for them."""
MAX_ZOOM = 5
MIN_SHOWN_PIXELS = 512
"""A crop is enlarged to about so many pixels a side, each pixel a square."""


@dataclass
class Looking:
    """What of a comparison is looked at. `block` counts among `blocks`, which follow `text`."""

    session: str = ""
    name: str = ""
    answer: ComparisonAnswer | None = None
    every: list[ComparedBlock] = field(default_factory=list)
    text: str = ""
    blocks: list[ComparedBlock] = field(default_factory=list)
    block: int = 0
    arm: int = 0
    pinned: int = 0
    zoom: int = 0
    centre: tuple[float, float] = (0.5, 0.5)

    @property
    def arms(self) -> tuple[ComparedArm, ...]:
        return self.answer.arms if self.answer is not None else ()

    @property
    def current(self) -> ComparedBlock | None:
        """The block at the cursor."""
        return self.blocks[self.block] if 0 <= self.block < len(self.blocks) else None

    @property
    def cell(self) -> ComparedCell | None:
        """The picture at the cursor."""
        block = self.current
        return block.cells[self.arm] if block is not None and self.arm < len(block.cells) else None

    def take(self, page: ComparisonAnswer) -> None:
        """A page of blocks; the first one begins anew."""
        known = {block.index for block in self.every} if self.answer is not None else set()
        self.answer = page
        self.every += [block for block in page.blocks if block.index not in known]
        self.choose(self.text)

    def choose(self, text: str) -> None:
        """Only the blocks whose prompts hold all these words."""
        self.text = text
        words = text.lower().split()
        self.blocks = [block for block in self.every if all(word in block.prompt.lower() for word in words)]
        self.move(0, 0)

    def move(self, arms: int, blocks: int) -> None:
        self.arm = max(0, min(self.arm + arms, len(self.arms) - 1))
        self.block = max(0, min(self.block + blocks, len(self.blocks) - 1))
        self.pinned = max(0, min(self.pinned, len(self.arms) - 1))

    def flick(self) -> None:
        """The next arm; behind the last the first."""
        self.arm = (self.arm + 1) % max(1, len(self.arms))

    def look(self, across: int, down: int) -> None:
        """Move what is seen of a zoomed picture by a quarter of it."""
        step = 0.25 / 2**self.zoom
        x, y = self.centre
        self.centre = min(1.0, max(0.0, x + across * step)), min(1.0, max(0.0, y + down * step))

    def zoom_by(self, by: int) -> None:
        self.zoom = max(0, min(MAX_ZOOM, self.zoom + by))
        if not self.zoom:
            self.centre = (0.5, 0.5)


def crop(image: Image.Image, zoom: int, centre: tuple[float, float]) -> Image.Image:
    """The part around `centre` (shares of width and height) that is 2^zoom times smaller, each of its pixels a square."""
    if not zoom:
        return image
    width, height = max(1, image.width >> zoom), max(1, image.height >> zoom)
    left = round(min(max(centre[0] * image.width - width / 2, 0), image.width - width))
    top = round(min(max(centre[1] * image.height - height / 2, 0), image.height - height))
    part = image.crop((left, top, left + width, top + height))
    factor = max(1, -(-MIN_SHOWN_PIXELS // max(width, height)))
    return part.resize((width * factor, height * factor), Image.Resampling.NEAREST)


def difference(one: Image.Image, other: Image.Image) -> tuple[Image.Image, float]:
    """Where two pictures differ, brightened `GAIN` times (black: nowhere), and the mean difference of a channel in 0..255.

    Another size is scaled to that of `one` first.
    """
    first, second = one.convert("RGB"), other.convert("RGB")
    if second.size != first.size:
        second = second.resize(first.size, Image.Resampling.LANCZOS)
    found = ImageChops.difference(first, second)
    mean = sum(ImageStat.Stat(found).mean) / 3
    return found.point(lambda value: min(255, GAIN * value)), mean


def painted(images: Sequence[ImageSaved], session: str, name: str) -> ComparisonAnswer | None:
    """A comparison as far as it is painted: the blocks that every arm seen so far has. None where there is none yet."""
    arms = list(dict.fromkeys(one.image.arm for one in images if one.image.arm))
    found: dict[tuple[str, int], dict[str, ImageSaved]] = {}
    for one in images:
        request = one.image.request
        found.setdefault((request.prompt, request.seed), {})[one.image.arm or ""] = one
    whole = [(place, cells) for place, cells in found.items() if arms and all(arm in cells for arm in arms)]
    if not whole:
        return None
    blocks = tuple(
        ComparedBlock(index=index, prompt=prompt, seed=seed, cells=tuple(ComparedCell(image=cells[arm].image) for arm in arms))
        for index, ((prompt, seed), cells) in enumerate(whole)
    )
    requests = {one.image.arm: one.image.request for one in images}
    compared = tuple(
        ComparedArm(
            name=arm,
            negative_prompt=requests[arm].negative_prompt,
            adapters=requests[arm].adapters,
        )
        for arm in arms
    )
    return ComparisonAnswer(
        session=session,
        name=name,
        arms=compared,
        blocks=blocks,
        num_blocks=len(blocks),
        effects=(),
        verdict="It is being painted: figures come at the end.",
        report_path="",
        sheet_paths=(),
    )


def effect_lines(answer: ComparisonAnswer) -> list[str]:
    """What became of the claims, the verdict, the claims' figures, two lines a metric and pair of arms, the guidance step by step."""
    lines = [*claim_verdicts(answer.claims), clean(answer.verdict), "", *claim_lines(answer.claims)]
    for effect in answer.effects:
        lines += [f"{effect.metric}: {effect.arm} - {effect.against}", f"  {_figures(effect)}"]
    if answer.effects:
        confidence, blocks = 100 * answer.effects[0].confidence, answer.effects[0].num_blocks
        lines += ["", f"{confidence:.0f} % intervals of the paired difference over {blocks} blocks"]
    if answer.diagnosis is not None:
        lines += ["", *diagnosis_lines(answer.diagnosis)]
    return lines


def value_lines(looking: Looking, width: int) -> list[str]:
    """What was measured in the block at the cursor: a line a metric, a column an arm; the arms in as many tables as `width` asks for."""
    block = looking.current
    metrics = list(dict.fromkeys(name for cell in block.cells for name in cell.values)) if block is not None else []
    if block is None or not metrics:
        return []
    columns = [
        [arm.name, *(f"{cell.values[name]:.3g}" if name in cell.values else "" for name in metrics)]
        for arm, cell in zip(looking.arms, block.cells, strict=False)
    ]
    names = [f"{name:16.16}" for name in ("this block", *metrics)]
    lines: list[str] = []
    while columns:
        shown = _fitting(columns, width - len(names[0]))
        columns = columns[len(shown) :]
        wide = [max(MIN_COLUMN, *(len(text) for text in column)) for column in shown]
        for row, name in enumerate(names):
            lines.append(clean(name + "".join(f" {column[row]:>{size}}" for column, size in zip(shown, wide, strict=True))))
        lines += [""] if columns else []
    return lines


def _fitting(columns: Sequence[Sequence[str]], width: int) -> Sequence[Sequence[str]]:
    """As many of the first columns as `width` has room for, at least one."""
    ends = list(accumulate(1 + max(MIN_COLUMN, *(len(text) for text in column)) for column in columns))
    return columns[: max(1, bisect_right(ends, width))]


def caption(looking: Looking) -> list[str]:
    """Two lines: which block and arm with its figures, and the prompt."""
    block, cell = looking.current, looking.cell
    if block is None or cell is None:
        return ["", ""]
    arm = looking.arms[looking.arm]
    pin = ", pinned" if looking.arm == looking.pinned else ""
    values = "  ".join(f"{name} {value:.3g}" for name, value in cell.values.items())
    place = f"block {looking.block + 1} of {len(looking.blocks)}  seed {block.seed}  {arm.name}{pin}  {values}"
    return [" ".join(clean(text).split()) for text in (place, block.prompt)]


def metadata(looking: Looking) -> str:
    """What is copied: enough to paint the picture again elsewhere, and what it is."""
    cell = looking.cell
    if cell is None:
        return ""
    request, arm = cell.image.request, looking.arms[looking.arm]
    lines = [request.prompt]
    if request.negative_prompt is not None:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    size = f"{request.width}x{request.height}"
    lines.append(f"Steps: {request.num_inference_steps}, CFG scale: {request.guidance_scale:g}, Seed: {request.seed}, Size: {size}")
    lines += [f"Adapter: sha256 {adapter.sha256}, weight {adapter.weight:g}" for adapter in request.adapters]
    lines.append(f"Arm: {arm.name} of {looking.session}/{looking.name}, {cell.image.path}")
    lines += [f"{name}: {value:.6g}" for name, value in cell.values.items()]
    return clean("\n".join(lines))


def next_name(names: Sequence[str], current: str, by: int) -> str:
    """The comparison after or before; round and round."""
    if not names:
        return ""
    return names[(names.index(current) + by) % len(names)] if current in names else names[-1]


def _figures(effect: Effect) -> str:
    interval = f"[{effect.low:+.3g}, {effect.high:+.3g}]"
    return f"{effect.mean:.3g} against {effect.mean_against:.3g}: {effect.difference:+.3g} {interval} {effect.verdict}"
