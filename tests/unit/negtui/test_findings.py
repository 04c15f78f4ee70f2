"""Claims, differences and guidance in lines that fit a terminal."""

from __future__ import annotations

from daemon.protocol.diagnosis import ArmGuidance, Diagnosis, TrainingCurves
from daemon.protocol.effects import Claim, Effect
from negtui import findings


def effect(metric: str = "flaw_probability", against: str = "baseline", **changes: object) -> Effect:
    settings: dict[str, object] = {
        "mean": 0.135,
        "mean_against": 0.191,
        "difference": -0.056,
        "low": -0.079,
        "high": -0.034,
        "confidence": 0.95,
        "num_blocks": 32,
        "better": "lower",
        "verdict": "better",
    }
    return Effect(metric=metric, arm="target", against=against, **settings | changes)  # type: ignore[arg-type]


ARTIFACTS = Claim(
    name="artifacts",
    statement="there are fewer artifacts",
    metric="flaw_probability",
    claimed="lower",
    against_baseline=effect(),
    against_placebo=effect(against="placebo", difference=-0.01, low=-0.03, high=0.01, verdict="unclear"),
    held=effect(difference=-0.05),
    held_metrics=("contrast", "saturation"),
    verdict="not beyond placebo",
    reading="Against placebo it does not hold.\x1b[2J",
)
OBEDIENCE = Claim(name="obedience", statement="the prompt is followed better", verdict="not measured", reading="Ask for a scorer.")


def test_claims_are_a_table_with_both_differences() -> None:
    lines = [" ".join(line.split()) for line in findings.claims_table([ARTIFACTS, OBEDIENCE])]
    assert lines == [
        "claim read in - baseline - placebo verdict",
        "artifacts flaw_probability -0.056 [-0.079, -0.034] -0.01 [-0.03, +0.01] not beyond placebo",
        "obedience not measured",
    ]
    assert max(len(line) for line in findings.claims_table([ARTIFACTS, OBEDIENCE])) <= 110


def test_readings_follow_when_asked_for_and_are_clean() -> None:
    text = "\n".join(findings.claims_table([ARTIFACTS, OBEDIENCE], readings=True))
    assert "artifacts: there are fewer artifacts? Against placebo it does not hold." in text
    assert "\x1b" not in text


def test_without_a_placebo_there_is_no_column_of_it() -> None:
    assert "placebo" not in findings.claims_table([OBEDIENCE])[0]


def test_narrow_claims_say_what_was_held() -> None:
    lines = findings.claim_lines([ARTIFACTS])
    assert lines[0] == "artifacts: not beyond placebo"
    assert lines[-2:] == ["  with contrast and saturation held: -0.05 [-0.079, -0.034]", ""]
    assert findings.claim_verdicts([ARTIFACTS, OBEDIENCE]) == ["artifacts    not beyond placebo", "obedience    not measured", ""]
    assert findings.claim_lines([]) == findings.claim_verdicts([]) == []


def test_unclear_differences_of_the_look_are_left_out_and_those_of_quality_kept() -> None:
    clear = effect("contrast", better="neither", verdict="different")
    vague = effect("contrast", better="neither", verdict="unclear")
    unclear = effect(verdict="unclear")
    assert findings.telling([clear, vague, unclear]) == [clear, unclear]
    assert findings.quality([clear, vague, unclear]) == [unclear]


def test_an_only_block_has_no_interval() -> None:
    claim = Claim(name="artifacts", statement="", metric="flaw_probability", against_baseline=effect(confidence=0.0), verdict="unclear")
    assert "[" not in findings.claims_table([claim])[1]


def test_many_arms_go_down_and_few_across() -> None:
    few = findings.means_table({"baseline": {"contrast": 0.5}, "target": {"contrast": 0.25, "sharpness": 1234.5}})
    assert [line.split() for line in few] == [["mean", "of", "baseline", "target"], ["contrast", "0.5", "0.25"], ["sharpness", "1234"]]
    many = findings.means_table({f"arm-{number}": {"contrast": 0.5} for number in range(9)})
    assert many[0].split() == ["arm", "contrast"]
    assert len(many) == 10


def test_guidance_is_a_spark_an_arm_on_one_scale() -> None:
    steps = tuple(float(step) for step in range(50))
    plain = ArmGuidance(arm="baseline", timesteps=steps, curves={"guidance_norm": (1.0,) * 50, "cosine_positive_negative": (0.5,) * 50})
    gap = ArmGuidance(arm="target", timesteps=steps, curves={"guidance_norm": (None, *(2.0,) * 49)})
    training = TrainingCurves(adapter="wrong", steps=(0, 100), separation=(0.0, 0.2), leak=(0.0, 0.1))
    lines = findings.diagnosis_lines(Diagnosis(blocks=(0, 1), arms=(plain, gap), trainings=(training,)))
    assert lines[0] == "Guidance, step by step, over 2 blocks"
    assert "guidance_norm: size of the guidance P - N" in lines
    assert f"  baseline     {'▅' * 24} 1 to 1" in lines
    assert f"  target       .{'█' * 23} 2 to 2" in lines
    assert "training of wrong, to step 100" in lines
    assert not any("adapter_positive_norm" in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith(("guidance", "cosine"))) <= 60
