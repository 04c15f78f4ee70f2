from typing import Any

import msgspec
import pytest

from daemon.protocol.fields import Count, Fraction, Name, NotNegative, Path_, Pixels, PlaceholderToken, Positive, Prompt, Seed, Spec, Steps


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Name, ["wrong", "a", "0.9_b-c", "a" * 63], ["", "-a", ".a", "A", "a/b", "../a", "a\n", "a" * 64, "ä"]),
        (Prompt, ["", "a wolf", "a" * 8192], ["a" * 8193]),
        (Path_, ["x", "/a/b"], ["", "a" * 4097]),
        (Seed, [0, 2**63 - 1], [-1, 2**63]),
        (Steps, [1, 1000], [0, 1001]),
        (Pixels, [8, 1024, 4096], [0, 4, 1001, 4104]),
        (Fraction, [0.8], [0.0, 1.0]),
        (Count, [1, 1_000_000], [0, 1_000_001]),
        (Positive, [1e-9, 3.0], [0.0, -1.0]),
        (NotNegative, [0.0, 2.0], [-1e-9]),
        (PlaceholderToken, ["<wrong>", "<a-B_3>"], ["wrong", "<>", "< a>", "<a>\n", f"<{'a' * 41}>"]),
    ],
)
def test_bounds(kind: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert msgspec.convert(value, kind) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, kind)


class Setting(Spec, frozen=True, kw_only=True):
    rank: Count = 4


def test_a_spec_refuses_unknown_fields_and_does_not_change() -> None:
    with pytest.raises(msgspec.ValidationError, match="rnak"):
        msgspec.convert({"rnak": 4}, Setting)
    with pytest.raises(AttributeError, match="immutable"):
        Setting().rank = 5  # type: ignore[misc]
