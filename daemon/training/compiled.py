"""A UNet's transformer blocks compiled for one fixed size, and as they were afterwards. Knows nothing of training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def compiled_blocks(unet: Any, is_wanted: bool, **options: Any) -> Iterator[None]:
    """Inside, every transformer block runs compiled (diffusers' regional compilation): the first step takes a minute, not many.

    `options` go to `torch.compile`. Adapters must be put on before. Does nothing unless `is_wanted`.
    """
    if not is_wanted:
        yield
        return
    unet.compile_repeated_blocks(**{"dynamic": False} | options)
    try:
        yield
    finally:
        for module in unet.modules():
            # torch has no call that undoes `Module.compile`.
            module._compiled_call_impl = None
