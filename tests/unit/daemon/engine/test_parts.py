from pathlib import Path

import pytest

from daemon import models
from daemon.engine.parts import Sources
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ModelSpec
from daemon.toy import BASE_PATH, REFINER_PATH


def test_a_spec_is_made_definite(tmp_path: Path) -> None:
    model = ModelSpec(base="toy", refiner="toy-refiner", device="cpu")
    sources = Sources.of(model, models.identify(model, tmp_path))
    assert (sources.source("base").path, sources.source("refiner").path) == (BASE_PATH, REFINER_PATH)
    assert (sources.device, sources.dtype) == ("cpu", "float32")


def test_a_part_that_was_not_named_is_said_in_words(tmp_path: Path) -> None:
    model = ModelSpec(base="toy")
    with pytest.raises(NegError, match="no refiner"):
        Sources.of(model, models.identify(model, tmp_path)).source("refiner")
