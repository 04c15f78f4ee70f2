from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.orders import Checkpoint, DecisiveOrder, LearningRate, Order, Sample, StopAndKeep


@given(st.one_of(st.sampled_from([Sample(), Checkpoint(), StopAndKeep()]), st.builds(LearningRate, value=st.floats(5e-324, 1e6))))
def test_orders_come_back_equal(order: Order) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=Order) == order
    assert msgspec.json.decode(msgspec.json.encode(order), type=Order) == order


@pytest.mark.parametrize("fields", [{}, {"value": 0.0}, {"value": -1e-4}, {"value": 1e7}, {"value": "fast"}])
def test_a_learning_rate_is_a_number_above_zero(fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "LearningRate"} | fields, Order)


def test_an_order_that_is_not_known_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="Explode"):
        msgspec.convert({"type": "Explode"}, Order)


def test_what_decides_the_weights_is_among_the_orders() -> None:
    assert set(get_args(DecisiveOrder)) < set(get_args(Order))
