import pytest
import torch
from torch import Tensor

from daemon.merging.layers import Factors, merge_layers, merged_rank
from daemon.protocol.errors import NegError
from daemon.protocol.merging_spec import COMBINATION_TYPES, SAME_RANK, MergeSpec, ParentAdapter, prunes

PARENTS = (ParentAdapter(name="a.1", weight=1.5), ParentAdapter(name="b", weight=-0.5))


def spec(kind: str, **changes: object) -> MergeSpec:
    density = {"density": 0.6} if kind.startswith(("ties", "dare", "magnitude")) else {}
    return MergeSpec(adapters=PARENTS, combination_type=kind, **density, **changes)  # type: ignore[arg-type]


def factors(seed: int, rank: int = 3, scaling: float = 2.0, shape: tuple[int, ...] = (8,), out: int = 6) -> Factors:
    draw = torch.Generator().manual_seed(seed)
    ones = (1,) * (len(shape) - 1)
    return Factors(torch.randn(rank, *shape, generator=draw), torch.randn(out, rank, *ones, generator=draw), scaling)


def delta(A: Tensor, B: Tensor, scaling: float = 1.0) -> Tensor:
    return scaling * B.flatten(1) @ A.flatten(1)


def weighted_sum(layer: dict[int, Factors]) -> Tensor:
    return sum(PARENTS[place].weight * delta(one.A, one.B, one.scaling) for place, one in layer.items())  # type: ignore[return-value]


LAYERS = {
    "linear": {0: factors(1), 1: factors(2, scaling=0.5)},
    "only_b": {1: factors(3)},
    "conv": {0: factors(4, shape=(5, 3, 3)), 1: factors(5, shape=(5, 3, 3))},
}


@pytest.mark.parametrize("kind", COMBINATION_TYPES)
def test_every_type_gives_every_layer_one_rank_and_the_right_shapes(kind: str) -> None:
    merged = merge_layers(spec(kind), LAYERS)
    assert merged.keys() == LAYERS.keys()
    rank = 6 if kind == "cat" else 3
    assert merged_rank(spec(kind), LAYERS) == rank
    assert {A.shape[0] for A, _ in merged.values()} == {B.shape[1] for _, B in merged.values()} == {rank}
    assert merged["conv"][0].shape == (rank, 5, 3, 3)
    assert merged["conv"][1].shape == (6, rank, 1, 1)
    assert all(torch.isfinite(weight).all() for pair in merged.values() for weight in pair)


@pytest.mark.parametrize(("kind", "rank"), [("cat", None), ("svd", 6)])
def test_cat_and_svd_of_the_whole_rank_are_exactly_the_weighted_sum(kind: str, rank: int | None) -> None:
    for name, pair in merge_layers(spec(kind, svd_rank=rank), LAYERS).items():
        torch.testing.assert_close(delta(*pair), weighted_sum(LAYERS[name]))


def test_svd_of_a_lower_rank_is_the_best_of_that_rank() -> None:
    found = delta(*merge_layers(spec("svd", svd_rank=2), LAYERS)["linear"])
    U, S, V = torch.linalg.svd(weighted_sum(LAYERS["linear"]), full_matrices=False)
    torch.testing.assert_close(found, U[:, :2] @ torch.diag(S[:2]) @ V[:2])


def test_linear_adds_the_factors_by_the_roots_of_weight_and_scaling() -> None:
    A, B = merge_layers(spec("linear"), LAYERS)["linear"]
    one, other = LAYERS["linear"][0], LAYERS["linear"][1]
    first, second = (1.5 * 2.0) ** 0.5, (0.5 * 0.5) ** 0.5
    torch.testing.assert_close(A, first * one.A - second * other.A)
    torch.testing.assert_close(B, first * one.B + second * other.B)


def test_ranks_of_any_kind_go_into_cat_and_svd_alone() -> None:
    layers = {"linear": {0: factors(1, rank=2), 1: factors(2, rank=4)}}
    for kind in COMBINATION_TYPES:
        if kind not in SAME_RANK:
            A, _ = merge_layers(spec(kind), layers)["linear"]
            assert A.shape[0] == (6 if kind == "cat" else 4)
            continue
        with pytest.raises(NegError, match=r"a\.1 2, b 4"):
            merge_layers(spec(kind), layers)


def test_the_seed_decides_what_dare_drops_and_nothing_else() -> None:
    state = torch.get_rng_state()
    first, again, other = (merge_layers(spec("dare_linear", seed=seed), LAYERS)["linear"][0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert [prunes(spec(kind)) for kind in ("dare_linear", "cat")] == [True, False]


def test_each_layer_is_told_and_may_stop_it() -> None:
    told: list[int] = []
    merge_layers(spec("cat"), LAYERS, lambda: told.append(1))
    assert len(told) == 3

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_layers(spec("cat"), LAYERS, stop)


def test_a_rank_above_the_layer_is_filled_with_zeros() -> None:
    A, B = merge_layers(spec("svd", svd_rank=20), LAYERS)["linear"]
    assert (A.shape, B.shape) == ((20, 8), (6, 20))
    torch.testing.assert_close(delta(A, B), weighted_sum(LAYERS["linear"]))
