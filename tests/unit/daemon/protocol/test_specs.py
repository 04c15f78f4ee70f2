import msgspec
import pytest

from daemon.protocol.errors import NegError
from daemon.protocol.specs import (
    CompareJob,
    ComparisonSpec,
    JobSpec,
    ModelSpec,
    PromptSpec,
    SessionSpec,
    SynthesisSpec,
    TrainJob,
    arms_of,
    ingredients,
    job_specs,
)
from daemon.protocol.training_spec import TrainingSpec


def test_defaults_are_the_seeds_experiment() -> None:
    comparison = ComparisonSpec()
    assert [arm.name for arm in comparison.arms] == ["baseline", "placebo", "target"]
    assert [arm.negative_prompt for arm in comparison.arms] == [None, "wrong", "wrong"]
    assert [len(arm.adapters) for arm in comparison.arms] == [0, 0, 1]
    synthesis = SynthesisSpec(keywords=tuple("abcdefghijklm"))
    assert len(synthesis.keywords) * len(synthesis.weights) * len(synthesis.guidance_scales) * len(synthesis.seeds) == 78
    assert (synthesis.num_inference_steps, synthesis.width, synthesis.denoising_split) == (50, 1024, 0.8)


SESSION = SessionSpec(
    model=ModelSpec(base="toy"),
    synthesis=SynthesisSpec(keywords=("blurry",)),
    training=TrainingSpec(output_name="worse", instance_prompt="worst", export_steps=100, max_train_steps=250),
    comparison=ComparisonSpec(prompts=(PromptSpec(prompt="a star"),), num_prompts=1, guidance_scale=3.0),
)


def test_a_preset_is_written_out_as_arms_of_what_the_session_declares() -> None:
    found = ingredients(SESSION)
    assert (found.adapter, found.word, found.keywords, found.checkpoints) == ("worse", "worst", ("blurry",), (100, 200))
    job = job_specs("mine", SESSION, preset="checkpoints")["compare"]
    assert isinstance(job, CompareJob)
    assert (job.comparison.output_name, job.comparison.preset) == ("checkpoints", "checkpoints")
    assert [arm.name for arm in job.comparison.arms] == ["baseline", "placebo", "step-100", "step-200"]
    assert job.comparison.arms[-1].negative_prompt == "worst"
    full = job_specs("mine", SESSION, full=True, preset="branches")["compare"]
    assert isinstance(full, CompareJob)
    assert (full.comparison.output_name, full.comparison.num_prompts, len(full.comparison.arms)) == ("branches-full", 0, 16)


def test_a_declared_preset_counts_and_another_adapter_is_what_it_is_told() -> None:
    assert SESSION.comparison is not None
    comparison = msgspec.structs.replace(SESSION.comparison, preset="three", adapter="other")
    spec = msgspec.structs.replace(SESSION, comparison=comparison)
    job = job_specs("mine", spec)["compare"]
    assert isinstance(job, CompareJob)
    assert job.comparison.arms == arms_of(spec)
    assert (job.comparison.output_name, job.comparison.arms[-1].adapters[0].name) == ("default", "other")
    assert (ingredients(spec).word, ingredients(spec).checkpoints) == ("wrong", ()), "nothing is known of another one's training"
    with pytest.raises(NegError, match="needs a second adapter"):
        job_specs("mine", SESSION, preset="subject")


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
