"""The tiny SDXL of this folder, importable by its tests, and built once for all of them."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def parts() -> Any:
    """v-prediction, float32. Lent to many trainings: each must leave it as it was."""
    import torch
    from tiny_sdxl import make_parts

    torch.set_num_threads(1)
    return make_parts()
