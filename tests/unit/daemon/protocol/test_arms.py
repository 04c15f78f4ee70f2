"""An arm is data: what its fields may be, and which weight an adapter has in which branch."""

import msgspec
import pytest

from daemon.protocol.arms import AdapterUse, ArmSpec


@pytest.mark.parametrize(
    ("fields", "weights"),
    [
        ({}, (1.0, 1.0)),
        ({"weight": 0.5}, (0.5, 0.5)),
        ({"positive_weight": 0}, (0.0, 1.0)),
        ({"negative_weight": 0, "weight": 0.7}, (0.7, 0.0)),
        ({"weight": 3, "positive_weight": 1, "negative_weight": -1}, (1.0, -1.0)),
    ],
)
def test_a_branch_has_its_own_weight_or_the_common_one(fields: dict[str, float], weights: tuple[float, float]) -> None:
    assert msgspec.convert({"name": "wrong"} | fields, AdapterUse).weights == weights


@pytest.mark.parametrize("field", [{"guidance_start": -0.1}, {"guidance_end": 1.1}, {"refiner": "his"}, {"guidance_scale": -1}])
def test_what_no_arm_can_be_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a"} | field, ArmSpec)


@pytest.mark.parametrize("field", [{"checkpoint": 0}, {"negative_weight": 11}, {"positive_weight": float("-11")}])
def test_what_no_use_of_an_adapter_can_be_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "wrong"} | field, AdapterUse)
