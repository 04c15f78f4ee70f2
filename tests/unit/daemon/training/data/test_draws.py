from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daemon.training.data.draws import Showing, Stream, bucket_of_batch, draw_fraction, draw_seed, image_order

SEEDS = st.integers(0, 2**63 - 1)
COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(tuple)


@given(SEEDS, st.integers(1, 200), st.integers(0, 1000))
def test_an_order_is_a_permutation(seed: int, num_images: int, epoch: int) -> None:
    assert sorted(image_order(num_images, seed, epoch)) == list(range(num_images))


@given(SEEDS, st.integers(1, 20), st.integers(1, 3), st.integers(1, 9), st.integers(1, 4))
def test_batches_are_full_and_an_epoch_shows_every_image_as_often_as_asked(
    seed: int, num_images: int, repeats: int, batch_size: int, num_epochs: int
) -> None:
    stream = Stream(num_images, repeats, seed)
    num_batches = -(-num_epochs * num_images * repeats // batch_size)
    batches = [stream.batch(number, batch_size) for number in range(num_batches)]
    assert all(len(batch) == batch_size for batch in batches)
    shown = [showing for batch in batches for showing in batch]
    for epoch in range(num_epochs):
        one = shown[epoch * num_images * repeats : (epoch + 1) * num_images * repeats]
        assert {showing.epoch for showing in one} == {epoch}
        assert sorted((showing.index, showing.repeat) for showing in one) == [(i, r) for i in range(num_images) for r in range(repeats)]


@given(SEEDS, st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_a_batch_does_not_depend_on_those_before_it(seed: int, numbers: list[int]) -> None:
    stream = Stream(7, 2, seed, "class")
    for number in numbers:
        assert stream.batch(number, 4) == Stream(7, 2, seed, "class").batch(number, 4)


def test_epochs_seeds_and_streams_differ() -> None:
    assert (
        len({image_order(30, seed, epoch, *place) for seed in range(4) for epoch in range(4) for place in ((), ("class",), (64, 32))}) == 48
    )


@given(SEEDS, COUNTS)
def test_every_image_is_shown_equally_often_whatever_its_bucket(seed: int, counts: tuple[int, ...]) -> None:
    batch_size, num_cycles = 2, 3
    shown: Counter[tuple[int, int]] = Counter()
    for number in range(num_cycles * sum(counts)):
        bucket, turn = bucket_of_batch(counts, seed, number)
        shown.update((bucket, showing.index) for showing in Stream(counts[bucket], 1, seed, bucket).batch(turn, batch_size))
    assert shown == {(bucket, index): num_cycles * batch_size for bucket, count in enumerate(counts) for index in range(count)}


@given(SEEDS, COUNTS, st.integers(1, 200))
def test_a_buckets_batches_are_counted_without_holes_and_spread_evenly(seed: int, counts: tuple[int, ...], num_batches: int) -> None:
    turns: Counter[int] = Counter()
    for number in range(num_batches):
        bucket, turn = bucket_of_batch(counts, seed, number)
        assert turn == turns[bucket]
        turns[bucket] += 1
    for bucket, count in enumerate(counts):
        assert abs(turns[bucket] - num_batches * count / sum(counts)) <= len(counts)


def test_buckets_take_turns_in_another_order_every_cycle_and_seed() -> None:
    counts = (5, 3, 2)
    orders = {tuple(bucket_of_batch(counts, seed, 10 * cycle + place)[0] for place in range(10)) for seed in range(3) for cycle in range(3)}
    assert len(orders) == 9


@given(SEEDS, st.text(max_size=9), st.integers(0, 10**6), st.integers(0, 1024))
def test_seeds_fit_torch_and_places_do_not_run_together(seed: int, purpose: str, step: int, micro_step: int) -> None:
    found = draw_seed(seed, purpose, step, micro_step)
    assert 0 <= found < 2**63
    assert found != draw_seed(seed, purpose, step, micro_step + 1)
    assert draw_seed(1, 23) != draw_seed(12, 3)
    assert 0 <= draw_fraction(seed, purpose, step, micro_step) < 1


def test_fractions_are_spread_over_the_whole_range() -> None:
    tenths = Counter(int(10 * draw_fraction(0, "x", number)) for number in range(2000))
    assert set(tenths) == set(range(10))
    assert all(140 < count < 260 for count in tenths.values())


def test_a_draw_never_changes() -> None:
    # Changing one changes every adapter: raise RECIPE_VERSION with it.
    assert draw_seed(0, "noise", 1, 0) == 255035959225185082
    assert image_order(8, 0, 0) == (5, 6, 7, 4, 3, 1, 2, 0)
    assert Stream(8, 1, 0).batch(0, 3) == (Showing(5, 0, 0), Showing(6, 0, 0), Showing(7, 0, 0))
