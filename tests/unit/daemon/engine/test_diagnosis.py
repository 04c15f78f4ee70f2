"""Looking on changes nothing, and what is seen is what the picture was made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from daemon.engine.models import LocalEngine
from daemon.protocol.specs import AdapterRequest, ImageRequest, ModelSpec

MakeRequest = Callable[..., ImageRequest]


@pytest.fixture
def target(engine: LocalEngine, make_request: MakeRequest, adapter_path: Path) -> ImageRequest:
    use = AdapterRequest(sha256=engine.offer_adapter(adapter_path), weight=1.0)
    return make_request(negative_prompt="grainy", adapters=(use,))


class Stepped:
    """What the schedulers were told: model outputs and the latents they came to, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outputs: list[np.ndarray] = []
        self.latents: list[np.ndarray] = []
        step = EulerDiscreteScheduler.step

        def told(scheduler: Any, model_output: torch.Tensor, *inputs: Any, **options: Any) -> Any:
            found = step(scheduler, model_output, *inputs, **options)
            self.outputs.append(model_output[0].float().numpy().copy())
            self.latents.append(found[0][0].float().numpy().copy())
            return found

        monkeypatch.setattr(EulerDiscreteScheduler, "step", told)


def test_the_picture_and_every_latent_are_the_painted_ones(
    engine: LocalEngine, model: ModelSpec, target: ImageRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    painting = Stepped(monkeypatch)
    painted = engine.paint(model, target)
    watching = Stepped(monkeypatch)
    trajectory = engine.watch(model, target)
    assert trajectory.image.tobytes() == painted.tobytes()
    latents = watching.latents
    assert len(latents) == 5
    assert all(np.array_equal(one, other) for one, other in zip(latents, painting.latents[:5], strict=True))
    assert engine.paint(model, target).tobytes() == painted.tobytes(), "adapters are on again"


def test_guidance_follows_from_what_is_seen(
    engine: LocalEngine, model: ModelSpec, target: ImageRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped = Stepped(monkeypatch)
    trajectory = engine.watch(model, target)
    assert len(trajectory.predictions) == 4, "the base's steps, not the refiner's"
    timesteps = [one.timestep for one in trajectory.predictions]
    assert timesteps == sorted(timesteps, reverse=True)
    for one, output in zip(trajectory.predictions, stepped.outputs, strict=False):
        assert one.negative is not None
        assert np.array_equal(one.negative + np.float32(5.0) * (one.positive - one.negative), output)


def test_without_adapters_is_what_the_base_alone_predicts(engine: LocalEngine, model: ModelSpec, target: ImageRequest) -> None:
    """At the first step both start from the same noise, so that the base's own painting tells what to expect."""
    import msgspec

    first = engine.watch(model, target).predictions[0]
    alone = engine.watch(model, msgspec.structs.replace(target, adapters=())).predictions[0]
    assert (alone.plain_positive, alone.plain_negative) == (None, None)
    assert first.plain_positive is not None
    assert first.plain_negative is not None
    assert alone.negative is not None
    assert np.array_equal(first.plain_positive, alone.positive)
    assert np.array_equal(first.plain_negative, alone.negative)
    assert not np.allclose(first.positive, alone.positive)


def test_an_adapter_in_the_negative_branch_alone_changes_that_alone(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest, adapter_path: Path
) -> None:
    use = AdapterRequest(sha256=engine.offer_adapter(adapter_path), weight=0.0, negative_weight=1.0)
    request = make_request(negative_prompt="grainy", adapters=(use,))
    painted = engine.paint(model, request)
    trajectory = engine.watch(model, request)
    assert trajectory.image.tobytes() == painted.tobytes()
    for one in trajectory.predictions:
        assert one.negative is not None
        assert one.plain_positive is not None
        assert one.plain_negative is not None
        assert np.allclose(one.positive, one.plain_positive, atol=1e-5)
        assert not np.allclose(one.negative, one.plain_negative, atol=1e-3)
    assert engine.paint(model, request).tobytes() == painted.tobytes()


def test_steps_outside_the_window_of_guidance_have_no_negative_branch(
    engine: LocalEngine, model: ModelSpec, make_request: MakeRequest
) -> None:
    trajectory = engine.watch(model, make_request(guidance_start=0.4, denoising_split=0.8))
    assert [one.negative is None for one in trajectory.predictions] == [True, True, False, False]


def test_a_painting_without_guidance_has_no_negative_branch(engine: LocalEngine, model: ModelSpec, make_request: MakeRequest) -> None:
    trajectory = engine.watch(model, make_request(guidance_scale=1.0))
    assert {one.negative is None for one in trajectory.predictions} == {True}


def test_what_stops_a_painting_stops_the_looking_and_leaves_no_hook(engine: LocalEngine, model: ModelSpec, target: ImageRequest) -> None:
    class Stop(Exception):
        pass

    def on_step(step: int, num_steps: int, preview: Callable[[], bytes]) -> None:
        if step == 2:
            raise Stop

    whole = engine.paint(model, target)
    with pytest.raises(Stop):
        engine.watch(model, target, on_step)
    unet = engine.training_parts(model).unet
    assert not unet._forward_hooks
    assert engine.paint(model, target).tobytes() == whole.tobytes()
