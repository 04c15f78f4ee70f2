from __future__ import annotations

import importlib.util
from pathlib import Path

FULL_SIZE = Path(__file__).parents[3] / "bench" / "full_size.py"


def test_the_published_configurations_have_the_published_sizes_and_fit_together() -> None:
    """On meta tensors: the parts counted, shapes sent through both UNets and the VAE, a rank 4 adapter put on the base."""
    found = importlib.util.spec_from_file_location("full_size", FULL_SIZE)
    assert found is not None
    assert found.loader is not None
    full_size = importlib.util.module_from_spec(found)
    found.loader.exec_module(full_size)
    assert full_size.check_on_meta() == full_size.PARAMETERS | {"adapter, rank 4": full_size.ADAPTER_PARAMETERS}
