"""Which draw belongs to which step: seeds, orders and buckets as pure functions, so that nothing random is ever saved or forgotten.

Knows nothing of torch, files or images: an image is its index here.
"""

from __future__ import annotations

import functools
import hashlib
from array import array
from dataclasses import dataclass


def draw_seed(seed: int, *place: int | str) -> int:
    """Seed of one draw, named by its place (purpose, step, micro-step, ...): 63 bits, equal on every machine."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def draw_fraction(seed: int, *place: int | str) -> float:
    """A uniform draw from 0 <= x < 1, named as `draw_seed`'s."""
    return (draw_seed(seed, *place) >> 10) / 2**53


def image_order(num_images: int, seed: int, epoch: int, *place: int | str) -> tuple[int, ...]:
    """A permutation of the images, another one for every epoch (from 0); `place` names the stream it belongs to."""
    return tuple(sorted(range(num_images), key=lambda index: draw_seed(seed, "order", *place, epoch, index)))


@dataclass(frozen=True)
class Showing:
    """One image at one of its turns: the `repeat`-th (from 0) in its `epoch` (from 0). What is drawn for it depends on these alone."""

    index: int
    epoch: int
    repeat: int


class Stream:
    """Images shown without end: epochs of `num_images * repeats` showings in a random order, one after another.

    Any part may be asked for, in any order. Orders of the last two epochs are remembered, which changes nothing but the time.
    """

    def __init__(self, num_images: int, repeats: int, seed: int, *place: int | str) -> None:
        self._num_images, self._num_showings = num_images, num_images * repeats
        self._seed, self._place = seed, place
        self._orders: dict[int, array[int]] = {}

    def batch(self, number: int, batch_size: int) -> tuple[Showing, ...]:
        """The `number`-th (from 0) batch. Batches cross the end of an epoch, so each is full and no image is passed over."""
        return tuple(self._showing(place) for place in range(number * batch_size, (number + 1) * batch_size))

    def _showing(self, place: int) -> Showing:
        epoch, offset = divmod(place, self._num_showings)
        repeat, index = divmod(self._order(epoch)[offset], self._num_images)
        return Showing(index, epoch, repeat)

    def _order(self, epoch: int) -> array[int]:
        if epoch not in self._orders:
            kept = {known: order for known, order in self._orders.items() if abs(known - epoch) == 1}
            self._orders = kept | {epoch: array("L", image_order(self._num_showings, self._seed, epoch, *self._place))}
        return self._orders[epoch]


def bucket_of_batch(counts: tuple[int, ...], seed: int, batch: int) -> tuple[int, int]:
    """The bucket that the `batch`-th (from 0) batch is taken from, and how many of its batches came before.

    `counts`: images of each bucket. In `sum(counts)` batches each bucket comes as often as it has images, evenly spread, so that every
    image is shown equally often although a batch holds images of one bucket only.
    """
    if len(counts) == 1:
        return 0, batch
    cycle, place = divmod(batch, sum(counts))
    bucket, turn = _bucket_cycle(counts, seed, cycle)[place]
    return bucket, cycle * counts[bucket] + turn


@functools.lru_cache(maxsize=2)
def _bucket_cycle(counts: tuple[int, ...], seed: int, cycle: int) -> tuple[tuple[int, int], ...]:
    # Stratified: the i-th of a bucket's n turns falls at random into the i-th n-th of the cycle.
    turns = ((bucket, turn) for bucket, count in enumerate(counts) for turn in range(count))
    return tuple(sorted(turns, key=lambda one: ((one[1] + draw_fraction(seed, "bucket", cycle, *one)) / counts[one[0]], one)))
