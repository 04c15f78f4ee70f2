import msgspec
import pytest

from daemon.protocol.commands import SweepAnswer
from daemon.protocol.errors import NegError
from daemon.protocol.sweep_spec import SweepSpec
from daemon.protocol.sweeps import SweepCell, SweepTable
from negtui.sweeping import job_of, sweep_lines, sweep_spec
from tests.fake_daemon import SPEC

CELLS = (
    SweepCell(name="w1", values={"weight": "1"}, num_blocks=8, means={"flaw_probability": 0.21}, verdict="best"),
    SweepCell(name="w2", values={"weight": "2"}, num_blocks=8, means={"flaw_probability": 0.22}, difference=0.01, low=-0.01, high=0.03),
    SweepCell(
        name="w4", values={"weight": "4"}, num_blocks=4, means={"flaw_probability": 0.6}, difference=0.4, low=0.3, high=0.5,
        verdict="worse", stopped="stopped after 4 blocks: it is worse",
    ),
)  # fmt: skip
ANSWER = SweepAnswer(
    session="toy",
    folder="sweeps/default",
    table=SweepTable(
        name="default", metric="flaw_probability", better="lower", axes=("weight",), cells=CELLS, num_blocks=8, num_pictures=20,
        num_spared=4, num_looks=1, confidence=0.95, verdict="On flaw_probability, w1 is best.",
    ),
)  # fmt: skip


def test_axes_as_written_become_a_spec() -> None:
    changes = {"weights": ["0.5", "1"], "checkpoints": ["100", "final"], "guidance_windows": ["0-0.8", "0.2-1"], "guidance_scales": None}
    spec = sweep_spec(None, {**changes, "racing": False, "first_look": "8", "num_prompts": "12", "seeds": ["1", "2"]})
    assert spec == SweepSpec(
        weights=(0.5, 1.0),
        checkpoints=(100, None),
        guidance_windows=((0.0, 0.8), (0.2, 1.0)),
        racing=False,
        first_look=8,
        num_prompts=12,
        seeds=(1, 2),
    )


def test_what_is_declared_stays_where_nothing_else_is_said() -> None:
    declared = SweepSpec(weights=(0.5, 1.0), checkpoints=(None, 20), guidance_windows=((0.0, 0.8),))
    assert sweep_spec(declared, {"weights": ["2", "3"], "output_name": None}) == msgspec.structs.replace(declared, weights=(2.0, 3.0))


@pytest.mark.parametrize(
    "changes", [{"weights": ["much", "1"]}, {"guidance_windows": ["0.8"]}, {"checkpoints": ["last"]}, {"weights": ["1"]}]
)
def test_what_is_none_is_said(changes: dict[str, object]) -> None:
    with pytest.raises(NegError, match=r"This is no sweep|one cell only"):
        sweep_spec(None, changes)


def test_a_sweep_needs_a_comparison() -> None:
    sweep = SweepSpec(weights=(0.5, 1.0))
    job = job_of("toy", SPEC, sweep)
    assert job.comparison.prompts == SPEC.comparison.prompts  # type: ignore[union-attr]
    with pytest.raises(NegError, match=r"no \[comparison\]"):
        job_of("toy", msgspec.structs.replace(SPEC, comparison=None), sweep)


def test_the_table_has_a_row_a_cell_and_the_reasons() -> None:
    text = "\n".join(sweep_lines(ANSWER))
    for words in (
        "3 cells, 8 blocks, 20 pictures",
        "+0.01 [-0.01, +0.03]",
        "not clearly worse",
        "stopped after 4 blocks: it is worse",
        "Verdict",
    ):
        assert words in text
