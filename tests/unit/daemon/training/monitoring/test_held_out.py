import msgspec
import pytest
import torch
from fake_denoiser import SCHEDULE, FakeModel, batches
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.held_out import NUM_TIMESTEPS, fixed_noise, held_out_loss, spread_timesteps
from daemon.training.objective.loss import add_noise

SPEC = TrainingSpec()


def nothing() -> None:
    pass


@given(st.integers(0, 999), st.integers(1, 1000), st.integers(0, 500))
def test_timesteps_lie_in_their_parts_of_the_range(low: int, width: int, image: int) -> None:
    high = min(1000, low + width)
    spec = msgspec.structs.replace(SPEC, min_timestep=low, max_timestep=high)
    found = spread_timesteps(spec, 1000, image)
    part = (high - low) / NUM_TIMESTEPS
    assert all(low <= timestep < high for timestep in found)
    assert all(low + int(number * part) <= timestep <= low + (number + 1) * part for number, timestep in enumerate(found))


@pytest.mark.parametrize(("low", "high"), [(0, 1000), (500, 1000), (99, 100), (100, 1000)])
def test_a_schedule_that_is_shorter_has_them_too(low: int, high: int) -> None:
    spec = msgspec.structs.replace(SPEC, min_timestep=low, max_timestep=high)
    assert all(min(low, 99) <= timestep < 100 for image in range(8) for timestep in spread_timesteps(spec, 100, image))


def test_many_images_cover_the_range_evenly() -> None:
    found = [timestep for image in range(256) for timestep in spread_timesteps(SPEC, 1000, image)]
    counts = torch.histc(torch.tensor(found, dtype=torch.float32), bins=10, min=0, max=1000)
    assert counts.min() >= 100
    assert counts.max() <= 105


def test_it_is_the_mean_squared_error_at_fixed_noise() -> None:
    model, (batch,) = FakeModel({"wrong": 0.5}), batches(1)
    wanted = []
    for level, timestep in enumerate(spread_timesteps(SPEC, 1000, 0)):
        noise = fixed_noise(batch.latents_BCHW, 0, level)
        noisy = add_noise(SCHEDULE, batch.latents_BCHW, noise, torch.tensor([timestep]))
        wanted.append((1.5 * noisy - noise).square().mean())
    assert held_out_loss(model.denoiser(), SPEC, (batch,), nothing) == pytest.approx(float(torch.stack(wanted).mean()), rel=1e-6)


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 1, 1, 1, 1)])
def test_batches_and_seeds_change_nothing_and_weights_do(sizes: tuple[int, ...]) -> None:
    def measure(move: float, sizes: tuple[int, ...], **changes: object) -> float:
        spec = msgspec.structs.replace(SPEC, **changes)
        return held_out_loss(FakeModel({"wrong": move}).denoiser(), spec, batches(*sizes), nothing)

    assert measure(0.5, sizes) == pytest.approx(measure(0.5, (4, 1), seed=9, snr_gamma=5.0, noise_offset=0.1), rel=1e-6)
    assert measure(0.5, sizes) == measure(0.5, sizes)
    assert measure(0.6, sizes) != measure(0.5, sizes)


def test_no_global_draw_is_touched_and_it_can_be_stopped_before_every_prediction() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model, count = FakeModel({}), iter(range(3))
    with pytest.raises(StopIteration):
        held_out_loss(model.denoiser(), SPEC, batches(2, 2), lambda: next(count) and None)
    assert model.num_predictions == 3
    assert torch.equal(torch.get_rng_state(), before)
