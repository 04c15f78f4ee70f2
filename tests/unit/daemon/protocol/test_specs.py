import msgspec
import pytest

from daemon.protocol.specs import ComparisonSpec, JobSpec, ModelSpec, SynthesisSpec, TrainJob
from daemon.protocol.training_spec import TrainingSpec


def test_defaults_are_the_seeds_experiment() -> None:
    comparison = ComparisonSpec()
    assert [arm.name for arm in comparison.arms] == ["baseline", "placebo", "target"]
    assert [arm.negative_prompt for arm in comparison.arms] == [None, "wrong", "wrong"]
    assert [len(arm.adapters) for arm in comparison.arms] == [0, 0, 1]
    synthesis = SynthesisSpec(keywords=tuple("abcdefghijklm"))
    assert len(synthesis.keywords) * len(synthesis.weights) * len(synthesis.guidance_scales) * len(synthesis.seeds) == 78
    assert (synthesis.num_inference_steps, synthesis.width, synthesis.denoising_split) == (50, 1024, 0.8)


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 0},
        {"learning_rate": 0.0},
        {"output_name": "../up"},
        {"resolution": 1001},
        {"max_train_steps": 0},
        {"rnak": 4},
        {"seed": -1},
    ],
)
def test_bad_values_and_unknown_fields_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(change, TrainingSpec)


def test_a_job_spec_travels_and_comes_back_equal() -> None:
    job = TrainJob(session="toy", model=ModelSpec(base="toy"), training=TrainingSpec())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=JobSpec) == job
    assert msgspec.json.decode(msgspec.json.encode(job), type=JobSpec) == job
