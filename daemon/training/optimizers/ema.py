"""A moving average of the adapter's weights. Knows nothing of optimizers, steps or files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class Ema:
    """The average of `parameters` over their updates, float32 on their device; it begins as what they are now."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.num_updates = 0
        self._parameters, self._decay = dict(parameters), decay
        self._averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """average += (1 - decay) * (weight - average), after an optimizer step."""
        decay = warmed_up(self._decay, self.num_updates)
        torch._foreach_lerp_(list(self._averages.values()), [weight.detach() for weight in self._parameters.values()], 1.0 - decay)
        self.num_updates += 1

    def weights(self) -> dict[str, Tensor]:
        """The averages, live."""
        return dict(self._averages)

    @torch.no_grad()
    def restore(self, weights: Mapping[str, Tensor], num_updates: int) -> None:
        """Go on from saved averages; raises `ValueError` where names or shapes differ."""
        if weights.keys() != self._averages.keys() or any(weights[name].shape != found.shape for name, found in self._averages.items()):
            raise ValueError("these averages belong to another adapter")
        for name, average in self._averages.items():
            average.copy_(weights[name])
        self.num_updates = num_updates

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages in the parameters' place; afterwards they are as they were, to the bit, whatever was raised."""
        with kept(self._parameters):
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(self._averages[name])
            yield


def warmed_up(decay: float, num_updates: int) -> float:
    """min(decay, (1 + n) / (10 + n)) after n updates: the first averages must not be all beginning (TensorFlow's rule, diffusers' too)."""
    return min(decay, (1 + num_updates) / (10 + num_updates))


@contextlib.contextmanager
def kept(parameters: Mapping[str, torch.nn.Parameter]) -> Iterator[None]:
    """Whatever happens to the weights inside, afterwards they are what they were, in the same memory."""
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
