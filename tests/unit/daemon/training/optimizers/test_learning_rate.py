import msgspec
import pytest
import torch
from diffusers.optimization import get_scheduler
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.optimizers.learning_rate import learning_rate_factor

SPEC = TrainingSpec(learning_rate=1e-2, max_train_steps=20, lr_warmup_steps=3, lr_num_cycles=3, lr_power=2.0)
NAMES = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")


def rates_of_diffusers(spec: TrainingSpec) -> list[float]:
    """The rate of each step as a training script sees it: by stepping the scheduler along."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=spec.learning_rate)
    scheduler = get_scheduler(
        spec.lr_scheduler,
        optimizer,
        num_warmup_steps=spec.lr_warmup_steps,
        num_training_steps=spec.max_train_steps,
        num_cycles=spec.lr_num_cycles,
        power=spec.lr_power,
    )
    rates = []
    for _ in range(spec.max_train_steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("warmup", [0, 3, 30])
def test_the_rate_is_that_of_diffusers_at_every_step(name: str, warmup: int) -> None:
    spec = msgspec.structs.replace(SPEC, lr_scheduler=name, lr_warmup_steps=warmup)
    factor = learning_rate_factor(spec)
    assert [spec.learning_rate * factor(step) for step in range(1, 21)] == rates_of_diffusers(spec)


def test_cycles_and_power_are_heeded() -> None:
    restarts = learning_rate_factor(msgspec.structs.replace(SPEC, lr_scheduler="cosine_with_restarts", lr_warmup_steps=0))
    assert [step for step in range(1, 20) if restarts(step + 1) > restarts(step)] == [7, 14]
    bent = learning_rate_factor(msgspec.structs.replace(SPEC, lr_scheduler="polynomial", lr_warmup_steps=0))
    straight = learning_rate_factor(msgspec.structs.replace(SPEC, lr_scheduler="polynomial", lr_warmup_steps=0, lr_power=1.0))
    assert bent(11) < straight(11) - 0.2


@given(st.sampled_from(NAMES), st.lists(st.integers(1, 20), min_size=2, max_size=8))
def test_it_depends_on_the_step_alone(name: str, steps: list[int]) -> None:
    spec = msgspec.structs.replace(SPEC, lr_scheduler=name)
    factor = learning_rate_factor(spec)
    for step in steps:
        assert factor(step) == learning_rate_factor(spec)(step)
        assert 0.0 <= factor(step) <= 1.0


def test_a_rate_that_its_schedule_refuses_is_said_in_words() -> None:
    with pytest.raises(NegError, match="polynomial does not go with this learning_rate"):
        learning_rate_factor(msgspec.structs.replace(SPEC, lr_scheduler="polynomial", learning_rate=1e-9))
