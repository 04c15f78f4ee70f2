"""The tiny SDXL of the trainer's tests, and adapters for it (`parents.py`), importable by the tests of this folder."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "training")]


@pytest.fixture(scope="session")
def tiny_parts() -> Any:
    import torch
    from tiny_sdxl import make_parts

    torch.set_num_threads(1)
    return make_parts()


@pytest.fixture
def parts(tiny_parts: Any) -> Iterator[Any]:
    """The tiny SDXL, clean whatever the test before did to it."""
    yield tiny_parts
    from adapting import MODULES

    from daemon.engine.adapter_loading import take_off_all

    for name in MODULES:
        take_off_all(getattr(tiny_parts, name))
