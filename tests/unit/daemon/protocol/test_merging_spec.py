import pytest

from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import MergeSpec, ParentAdapter, require_sound_merge

BOTH = (ParentAdapter(name="wrong"), ParentAdapter(name="subject", weight=-0.5))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"combination_type": "svd", "svd_rank": 8},
        {"combination_type": "ties", "density": 0.5},
        {"combination_type": "dare_ties_svd", "density": 1, "svd_rank": 2},
    ],
)
def test_what_makes_sense(changes: dict[str, object]) -> None:
    require_sound_merge(MergeSpec(adapters=BOTH, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adapters": (BOTH[0], BOTH[0])}, "twice"),
        ({"output_name": "wrong"}, "its own parent"),
        ({"adapters": (BOTH[0], ParentAdapter(name="b", weight=0.0))}, "weight 0"),
        ({"combination_type": "dare_linear"}, "needs a density"),
        ({"density": 0.5}, "cat keeps every weight"),
        ({"combination_type": "ties", "density": 0.5, "svd_rank": 4}, "has no svd_rank"),
    ],
)
def test_what_contradicts_itself_is_said(changes: dict[str, object], words: str) -> None:
    with pytest.raises(NegError, match=words):
        require_sound_merge(MergeSpec(**{"adapters": BOTH, **changes}))  # type: ignore[arg-type]


def test_the_types_are_those_of_peft() -> None:
    import inspect
    from typing import get_args

    from peft.tuners.lora import LoraModel

    from daemon.protocol.merging_spec import COMBINATION_TYPES

    annotation = inspect.signature(LoraModel.add_weighted_adapter, eval_str=True).parameters["combination_type"].annotation
    assert set(COMBINATION_TYPES) == set(get_args(annotation))
