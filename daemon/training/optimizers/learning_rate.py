"""The schedules of the learning rate as pure functions of the step, so that there is nothing to save. Knows no optimizer."""

from __future__ import annotations

from collections.abc import Callable

import torch

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec


def learning_rate_factor(spec: TrainingSpec) -> Callable[[int], float]:
    """What diffusers' `get_scheduler` multiplies every group's rate by at an optimizer step (from 1).

    Raises `NegError` `invalid` where the schedule and the rate do not go together (`polynomial` ends at 1e-7).
    """
    from diffusers.optimization import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=spec.learning_rate)
    try:
        scheduler = get_scheduler(
            spec.lr_scheduler,
            optimizer,
            num_warmup_steps=spec.lr_warmup_steps,
            num_training_steps=spec.max_train_steps,
            num_cycles=spec.lr_num_cycles,
            power=spec.lr_power,
        )
    except ValueError as error:
        raise NegError("invalid", f"lr_scheduler {spec.lr_scheduler} does not go with this learning_rate: {error}.") from error
    factor = scheduler.lr_lambdas[0]
    return lambda step: float(factor(step - 1))
