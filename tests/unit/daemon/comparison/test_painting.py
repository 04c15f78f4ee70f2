from pathlib import Path

from comparing import job
from painting import Desk, FakeEngine

from daemon.comparison.arms import Arm
from daemon.comparison.painting import IMAGES_FOLDER, cell_record, paint_cells
from daemon.comparison.plan import Cell, plan_blocks, plan_cells
from daemon.pictures import PaintPace

ARMS = (Arm("baseline", (), None, ""), Arm("placebo", (), "wrong", ""), Arm("again", (), "wrong", ""))


def cells(engine: FakeEngine) -> tuple[Cell, ...]:
    spec = job(1).comparison
    return plan_cells(spec, plan_blocks(spec), ARMS, engine.identity)


def test_a_block_is_painted_together_each_picture_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, engine=FakeEngine(together=2))
    block, context = cells(desk.engine), desk.context
    pictures = dict(paint_cells(PaintPace(context, "paint", 3), job().model, block, tmp_path, 0))
    assert sorted(pictures) == [0, 1, 2]
    assert len(desk.engine.painted) == 2, "the last two arms are the same"
    assert context.timings["paint"] > 0
    again = dict(paint_cells(PaintPace(context, "paint", 3), job().model, block, tmp_path, 0))
    assert all(picture.reused for picture in again.values())
    record = cell_record(block[1], pictures[1], "keep")
    assert (record.arm, record.status, record.path) == ("placebo", "keep", f"{IMAGES_FOLDER}/{pictures[1].id}.png")
    assert (tmp_path / record.path).is_file()
