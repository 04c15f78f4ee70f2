import pytest

from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import MergeSpec, ParentAdapter
from negtui.merging import merge_spec

BOTH = (ParentAdapter(name="wrong"), ParentAdapter(name="subject", weight=0.7))


def test_wishes_become_a_spec() -> None:
    assert merge_spec(["wrong", "subject=0.7"], {}) == MergeSpec(adapters=BOTH)
    settings = {
        "output_name": "both",
        "combination_type": "dare_ties_svd",
        "density": "0.5",
        "svd_rank": "8",
        "seed": 3,
        "majority_sign_method": None,
    }
    assert merge_spec(["wrong=1.0", "subject=.7"], settings) == MergeSpec(
        adapters=BOTH, output_name="both", combination_type="dare_ties_svd", density=0.5, svd_rank=8, seed=3
    )


@pytest.mark.parametrize(
    ("adapters", "settings", "words"),
    [
        (["wrong=much", "subject"], {}, "no adapter with its weight"),
        (["wrong=11", "subject"], {}, "no adapter with its weight"),
        (["Not A Name", "subject"], {}, "no adapter with its weight"),
        (["wrong"], {}, "This is no merge"),
        (["wrong", "subject"], {"combination_type": "mix"}, "This is no merge"),
        (["wrong", "subject"], {"svd_rank": "none"}, "This is no merge"),
        (["wrong", "subject"], {"combination_type": "ties"}, "needs a density"),
    ],
)
def test_what_is_none_is_said(adapters: list[str], settings: dict[str, object], words: str) -> None:
    with pytest.raises(NegError, match=words):
        merge_spec(adapters, settings)
