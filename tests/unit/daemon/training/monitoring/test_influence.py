import msgspec
import pytest
from fake_denoiser import FakeModel, batches

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.held_out import NUM_TIMESTEPS
from daemon.training.monitoring.influence import MAX_PROMPTS, NUM_IMAGES, Influence, ordinary_prompts

SPEC = TrainingSpec(sample_prompts=("a dog", "a cat"), class_prompt="a thing")


def nothing() -> None:
    pass


def test_it_is_the_relative_distance_between_on_and_off() -> None:
    model = FakeModel({"wrong": 0.5, "a dog": 0.1, "a cat": -0.3, None: 0.2})
    found = Influence(model.denoiser(), SPEC).measure(batches(3), nothing)
    # The fake predicts its input times 1 + move: the distance is the move itself.
    assert found == {"separation": pytest.approx(0.5, rel=1e-5), "leak": pytest.approx((0.1 + 0.3 + 0.2 + 0) / 4, rel=1e-5)}


def test_an_adapter_that_does_nothing_neither_separates_nor_leaks() -> None:
    assert Influence(FakeModel({}).denoiser(), SPEC).measure(batches(1), nothing) == {"separation": 0.0, "leak": 0.0}


def test_ordinary_prompts_are_all_that_is_not_the_adapters_own() -> None:
    assert ordinary_prompts(TrainingSpec()) == (None,)
    assert ordinary_prompts(SPEC) == ("a thing", "a dog", "a cat", None)
    kept = msgspec.structs.replace(SPEC, preservation_prompts=("a dog", "wrong", "a boat"))
    assert ordinary_prompts(kept) == ("a dog", "a boat", "a thing", "a cat", None)
    many = TrainingSpec(sample_prompts=tuple(f"prompt {number}" for number in range(99)))
    assert len(ordinary_prompts(many)) == MAX_PROMPTS + 1


def test_what_the_model_says_without_the_adapter_is_computed_once() -> None:
    model = FakeModel({"wrong": 0.5})
    influence, looked_at, count = Influence(model.denoiser(), SPEC), batches(2, 1, 9), []
    first = influence.measure(looked_at, lambda: count.append(0))
    num_predictions = model.num_predictions
    assert len(count) == influence.num_forwards(looked_at) == NUM_TIMESTEPS * 3 * 5
    assert num_predictions == 2 * len(count)
    assert influence.measure(looked_at, nothing) == first
    assert model.num_predictions == num_predictions + len(count)


def test_only_the_first_images_are_looked_at_whatever_their_batches() -> None:
    few, many = batches(NUM_IMAGES), batches(1, 2, 3, 4)
    model = FakeModel({"wrong": 0.5, "a dog": 0.25})
    found = [Influence(model.denoiser(), SPEC).measure(some, nothing) for some in (few, many)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
