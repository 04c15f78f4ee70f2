import re

import pytest

from daemon.protocol.arms import AdapterUse, ArmSpec
from daemon.protocol.errors import NegError
from daemon.protocol.sweep_spec import SweepSpec, cell_arms, num_cells, require_sound_sweep, swept_adapter


def test_cells_are_the_product_of_the_axes_named_by_their_values() -> None:
    spec = SweepSpec(checkpoints=(100, None), weights=(0.7, -1.0), guidance_scales=(5,), guidance_windows=((0.0, 0.8), (0.2, 1.0)))
    arms = cell_arms(spec)
    assert len(arms) == num_cells(spec) == 8
    assert [arm.name for arm in arms[:3]] == ["s100-w0.7-g5-t0-0.8", "s100-w0.7-g5-t0.2-1", "s100-w-1-g5-t0-0.8"]
    last = arms[-1]
    assert last.name == "final-w-1-g5-t0.2-1"
    assert (last.adapters[0].checkpoint, last.adapters[0].weight, last.guidance_scale) == (None, -1.0, 5)
    assert (last.guidance_start, last.guidance_end, last.negative_prompt) == (0.2, 1.0, "wrong")
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", arm.name) for arm in arms)


def test_only_the_named_adapter_changes() -> None:
    arm = ArmSpec(name="both", adapters=(AdapterUse(name="wrong", positive_weight=0.0), AdapterUse(name="subject")))
    assert swept_adapter(SweepSpec(arm=arm)) == "wrong"
    first, second = cell_arms(SweepSpec(arm=arm, adapter="subject", weights=(0.5, 1.0)))
    assert [use.weight for use in (*first.adapters, *second.adapters)] == [1.0, 0.5, 1.0, 1.0]
    negative, _ = cell_arms(SweepSpec(arm=arm, weights=(0.5, 1.0)))
    assert negative.adapters[0].weights == (0.0, 0.5), "the branch that was left alone stays so"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "one cell only"),
        ({"weights": (1.0, 1.0)}, "sweep.weights holds a value twice"),
        ({"weights": (0.5, 0.50000001)}, "two cells called 'w0.5'"),
        ({"guidance_scales": tuple(range(64)), "weights": tuple(range(5))}, "320 cells"),
        ({"guidance_windows": ((0.5, 0.5), (0.0, 1.0))}, "is empty"),
        ({"weights": (0.5, 1.0), "arm": ArmSpec(name="bare")}, "no adapter to change"),
        ({"weights": (0.5, 1.0), "adapter": "other"}, "no adapter 'other'"),
        (
            {"weights": (0.5, 1.0), "arm": ArmSpec(name="a", adapters=(AdapterUse(name="w", positive_weight=1.0, negative_weight=0.0),))},
            "both branches",
        ),
    ],
)
def test_what_contradicts_itself_is_said(changes: dict[str, object], words: str) -> None:
    with pytest.raises(NegError, match=words):
        require_sound_sweep(SweepSpec(**changes))  # type: ignore[arg-type]
