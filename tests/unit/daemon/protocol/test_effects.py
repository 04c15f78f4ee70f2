import msgspec
import pytest

from daemon.protocol.effects import Claim, Effect

EFFECT = Effect(
    metric="sharpness",
    arm="target",
    against="baseline",
    mean=2.0,
    mean_against=1.0,
    difference=1.0,
    low=0.5,
    high=1.5,
    confidence=0.95,
    num_blocks=8,
)


def test_a_claim_travels_whole_with_its_effects() -> None:
    claim = Claim(name="sharpness", statement="pictures are sharper", against_baseline=EFFECT, verdict="holds")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(claim), type=Claim) == claim


def test_a_verdict_that_is_none_is_refused() -> None:
    body = msgspec.msgpack.encode({"name": "sharpness", "statement": "", "verdict": "certain"})
    with pytest.raises(msgspec.ValidationError, match="verdict"):
        msgspec.msgpack.decode(body, type=Claim)
