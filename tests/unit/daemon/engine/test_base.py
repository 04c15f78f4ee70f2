from __future__ import annotations

import inspect

import msgspec

from daemon.engine.base import Engine, ModelIdentity
from daemon.engine.models import LocalEngine


def test_the_local_engine_offers_all_of_it_with_the_same_parameters() -> None:
    methods = [name for name, _ in inspect.getmembers(Engine, inspect.isfunction) if not name.startswith("_")]
    assert "paint" in methods
    for name in methods:
        assert list(inspect.signature(getattr(LocalEngine, name)).parameters) == list(inspect.signature(getattr(Engine, name)).parameters)


def test_an_identity_survives_the_wire() -> None:
    identity = ModelIdentity(base_sha256="a", refiner_sha256="b", torch_dtype="float16")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(identity), type=ModelIdentity) == identity
