import pytest

from daemon.comparison.plan import Block
from daemon.comparison.sweep.racing import Stop
from daemon.comparison.sweep.tables import axes_of, cell_values, make_table, stop_in_words, table_rows
from daemon.measuring.metrics import METRICS
from daemon.protocol.errors import NegError
from daemon.protocol.sweep_spec import SweepSpec

SPEC = SweepSpec(weights=(0.5, 1.0, 2.0), guidance_scales=(5,), first_look=4)
BLOCKS = tuple(Block(index, f"prompt {index}", 0) for index in range(8))
FLAW = METRICS["flaw_probability"]
SHIFTS = {"w0.5-g5": 0.0, "w1-g5": 0.001, "w2-g5": 0.4}
STOP = {"w2-g5": (4, Stop("w2-g5", "w0.5-g5", 0.6, 0.2, 0.3))}


def values() -> dict[tuple[int, str], dict[str, float]]:
    found = {}
    for block in BLOCKS:
        for number, (cell, shift) in enumerate(SHIFTS.items()):
            if cell not in STOP or block.index < STOP[cell][0]:
                wobble = 0.01 * ((block.index * (number + 1)) % 3)
                found[block.index, cell] = {"flaw_probability": 0.2 + shift + wobble, "sharpness": 1.0}
    return found


def test_the_table_says_who_is_best_who_stopped_and_what_is_unclear() -> None:
    table = make_table(SPEC, BLOCKS, values(), STOP, FLAW)
    assert [(cell.name, cell.verdict, cell.num_blocks) for cell in table.cells] == [
        ("w0.5-g5", "best", 8),
        ("w1-g5", "unclear", 8),
        ("w2-g5", "worse", 4),
    ]
    best, close, stopped = table.cells
    assert best.difference is None
    assert close.low is not None
    assert close.low <= 0 <= (close.high or 0)
    assert stopped.stopped == "stopped after 4 blocks: flaw_probability 0.600 against 0.200 of w0.5-g5, worse by at least 0.300"
    assert (table.num_pictures, table.num_spared, table.num_looks) == (20, 4, 1)
    assert "1 of 3 cells stopped early" in table.verdict
    assert "Not clearly worse than it: w1-g5" in table.verdict
    assert stop_in_words(STOP["w2-g5"][1], 4, FLAW) == stopped.stopped


def test_rows_have_the_axes_the_measures_of_quality_and_the_reason() -> None:
    headings, rows = table_rows(make_table(SPEC, BLOCKS, values(), STOP, FLAW))
    assert headings == ["weight", "guidance_scale", "blocks", "flaw_probability", "against the best", ""]
    assert rows[0] == ["0.5", "5", "8", "0.209", "", "best"]
    assert rows[2][-1].startswith("stopped after 4 blocks")
    assert {len(row) for row in rows} == {len(headings)}


def test_axes_and_values_in_words() -> None:
    spec = SweepSpec(checkpoints=(None, 50), guidance_windows=((0.0, 0.8), (0.2, 1.0)))
    assert axes_of(spec) == ("checkpoint", "guidance_window")
    assert cell_values(spec)["final-t0-0.8"] == {"checkpoint": "final", "guidance_window": "0 to 0.8"}
    assert cell_values(spec)["s50-t0.2-1"] == {"checkpoint": "50", "guidance_window": "0.2 to 1"}


def test_a_measure_that_no_picture_has_decides_nothing() -> None:
    with pytest.raises(NegError, match="No picture of the sweep has a adherence"):
        make_table(SPEC, BLOCKS, values(), {}, METRICS["adherence"])
