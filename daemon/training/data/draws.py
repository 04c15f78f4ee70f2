"""Which draw belongs to which step: seeds and orders as pure functions, so that nothing random is ever saved or forgotten.

Knows nothing of torch, files or images.
"""

from __future__ import annotations

import functools
import hashlib


def draw_seed(seed: int, *place: int | str) -> int:
    """Seed of one draw, named by its place (purpose, step, micro-step, ...): 63 bits, equal on every machine."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@functools.lru_cache(maxsize=4)
def image_order(num_images: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of the images, another one for every epoch (from 0)."""
    return tuple(sorted(range(num_images), key=lambda index: draw_seed(seed, "order", epoch, index)))


def batch_indices(num_images: int, batch_size: int, seed: int, batch: int) -> tuple[int, ...]:
    """Images of the `batch`-th (from 0) batch of the run: the epochs' orders one after another, cut into equal pieces.

    Batches cross the end of an epoch, so every batch is full and every image comes once an epoch.
    """
    places = (divmod(place, num_images) for place in range(batch * batch_size, (batch + 1) * batch_size))
    return tuple(image_order(num_images, seed, epoch)[offset] for epoch, offset in places)
