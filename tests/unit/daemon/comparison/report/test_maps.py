"""Maps come in rows of a block and kind, as PNGs inside the page."""

import dataclasses
from pathlib import Path

from found import ARMS, findings

from daemon.comparison.report.maps import map_rows
from daemon.files import write_atomic
from daemon.protocol.diagnosis import Diagnosis, GuidanceMap


def maps(block: int, kind: str, folder: Path) -> list[GuidanceMap]:
    found = []
    for arm in ARMS:
        path = f"diagnosis/block-{block}-{arm.name}-{kind}.png"
        write_atomic(folder / path, b"png")
        found.append(GuidanceMap(block=block, arm=arm.name, kind=kind, path=path, highest=2.0, mean=0.5))  # type: ignore[arg-type]
    return found


def test_a_row_holds_all_arms_of_a_block(tmp_path: Path) -> None:
    every = tuple(one for block in (0, 1) for kind in ("guidance", "difference") for one in maps(block, kind, tmp_path))
    rows = map_rows(dataclasses.replace(findings(), diagnosis=Diagnosis(blocks=(0, 1), arms=(), maps=every)), tmp_path)
    assert [row.title for row in rows[:2]] == ["guidance in a star, seed 1", "difference in a star, seed 1"]
    assert len(rows) == 4
    assert [one.arm for one in rows[0].maps] == ["baseline", "placebo", "target"]
    assert rows[0].maps[0].source == "data:image/png;base64,cG5n"
    assert rows[0].highest == 2.0


def test_without_a_diagnosis_there_are_none(tmp_path: Path) -> None:
    assert map_rows(findings(), tmp_path) == []
