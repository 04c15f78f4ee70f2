import math
from statistics import NormalDist

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.objective.timesteps import draw_timesteps, timestep_range


def draw(spec: TrainingSpec, batch_size: int = 20_000, seed: int = 0, num_train_timesteps: int = 1000) -> torch.Tensor:
    return draw_timesteps(spec, num_train_timesteps, batch_size, torch.Generator().manual_seed(seed))


def test_uniform_ones_are_the_reference_s() -> None:
    wanted = torch.randint(0, 1000, (64,), generator=torch.Generator().manual_seed(3))
    assert torch.equal(draw(TrainingSpec(), 64, seed=3), wanted)


@given(
    kind=st.sampled_from(["uniform", "logit_normal"]),
    bounds=st.lists(st.integers(0, 1000), min_size=2, max_size=2, unique=True).map(sorted),
    mean=st.floats(-40, 40),
    seed=st.integers(0, 2**31),
    num_train_timesteps=st.integers(1, 1000),
)
def test_they_stay_in_their_range_and_depend_on_the_generator_alone(
    kind: str, bounds: list[int], mean: float, seed: int, num_train_timesteps: int
) -> None:
    low, high = bounds
    spec = msgspec.structs.replace(TrainingSpec(), timestep_sampling=kind, min_timestep=low, max_timestep=high, logit_mean=mean)
    timesteps = draw(spec, 32, seed, num_train_timesteps)
    torch.manual_seed(seed + 1)
    assert torch.equal(timesteps, draw(spec, 32, seed, num_train_timesteps))
    assert timesteps.dtype == torch.int64
    first, behind = timestep_range(spec, num_train_timesteps)
    assert first <= int(timesteps.min()) <= int(timesteps.max()) < behind <= num_train_timesteps
    if high <= num_train_timesteps:
        assert (first, behind) == (low, high)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.0, 1.0), (-1.0, 0.5)])
def test_logit_normal_ones_lie_as_their_distribution_says(mean: float, std: float) -> None:
    spec = msgspec.structs.replace(TrainingSpec(), timestep_sampling="logit_normal", logit_mean=mean, logit_std=std)
    timesteps = draw(spec).double()
    for place in (0.25, 0.5, 0.75):
        wanted = NormalDist(mean, std).cdf(math.log(place / (1 - place)))
        assert float((timesteps < 1000 * place).double().mean()) == pytest.approx(wanted, abs=0.015)
