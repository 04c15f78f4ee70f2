"""How large `report.html` gets: `python tests/bench/report_size.py`. Three arms of 1024 x 1024, with the sample pictures' thumbnails."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PIL import Image

from daemon.comparison.arms import Arm
from daemon.comparison.findings import Findings
from daemon.comparison.plan import Block
from daemon.comparison.report.page import render_page
from daemon.comparison.report.pictures import choose_shown
from daemon.engine.base import ModelIdentity
from daemon.pictures import encode_thumbnail, thumbnail_path
from daemon.protocol.specs import CompareJob, ComparisonSpec, ModelSpec
from tests.sample_pictures import busy, typical

NUM_BLOCKS = (12, 60, 240, 1000)


def findings(num_blocks: int) -> Findings:
    """Three arms, one picture for all cells: only its size counts here."""
    blocks = tuple(Block(index, f"a wolf in Yosemite National Park, film photography, take {index}", index) for index in range(num_blocks))
    arms = tuple(Arm(name, (), "wrong", 'negative "wrong"') for name in ("baseline", "placebo", "target"))
    cells = [(block.index, arm.name) for block in blocks for arm in arms]
    return Findings(
        job=CompareJob(session="mine", model=ModelSpec(base="sdxl"), comparison=ComparisonSpec(width=1024, height=1024)),
        identity=ModelIdentity(base_sha256="0" * 64, torch_dtype="float16"),
        arms=arms,
        blocks=blocks,
        picture_ids=dict.fromkeys(cells, "picture"),
        values={cell: {} for cell in cells},
        means={arm.name: {} for arm in arms},
        effects=(),
        verdict="",
        scorers=("plain",),
    )


def measure(kind: str, image: Image.Image) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for pixels in (512, 256):
            path = thumbnail_path(Path(folder), "picture", pixels)
            path.parent.mkdir(parents=True)
            path.write_bytes(encode_thumbnail(image, pixels))
            print(f"{kind}: a thumbnail of {pixels} pixels takes {path.stat().st_size:,} bytes")
        for num_blocks in NUM_BLOCKS:
            found = findings(num_blocks)
            shown, size = choose_shown(found, Path(folder)), len(render_page(found, Path(folder)).encode())
            print(f"{kind}: {num_blocks:>5} blocks: {len(shown.blocks):>5} shown at {shown.pixels} pixels, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    measure("typical", typical(1024))
    measure("busy", busy(1024))
