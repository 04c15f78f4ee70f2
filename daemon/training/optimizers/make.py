"""The optimizer of an adapter by its name in the spec, and its state by the names of the weights.

Knows nothing of losses, schedules (it is told their factor) or files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.optimizers.ema import Ema, kept
from daemon.training.optimizers.kinds import KINDS

_EMA = "ema."
_NOT_STATE = frozenset({"params", "lr"})


@dataclass(frozen=True)
class OptimizerState:
    """All that an optimizer remembers. Tensors may be the live ones: write them at once."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """`<what>.<weight>`, e.g. `exp_avg.unet.x.lora_A.weight`; `ema.<weight>` of the moving average. Empty before the first update."""
    facts: dict[str, Any] = field(default_factory=dict)
    """JSON: what changed in the groups (Prodigy's d), which states are plain numbers, how often the average was updated."""


class AdapterOptimizer:
    """An optimizer over `parameters`, in one group for the UNet and one for the text encoders, and the moving average."""

    def __init__(self, spec: TrainingSpec, parameters: Mapping[str, nn.Parameter], device: Any) -> None:
        groups = _groups(spec, parameters)
        self._names = [name for group in groups for name in group["names"]]
        self._parameters = {name: parameters[name] for name in self._names}
        self._rates = [float(group["lr"]) for group in groups]
        make: Callable[..., torch.optim.Optimizer] = KINDS[spec.optimizer]
        plain = [{"params": [parameters[name] for name in group["names"]], "lr": group["lr"]} for group in groups]
        self.torch_optimizer = make(spec, plain, torch.device(device))
        self._set_training(True)
        self._initial = [{key: value for key, value in group.items() if key != "params"} for group in self.torch_optimizer.param_groups]
        self._ema = Ema(self._parameters, spec.ema_decay) if spec.ema_decay else None
        self.learning_rate = self._rates[0]
        """Of the first group, as it was last used; Prodigy's own estimate times its rate."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.torch_optimizer.zero_grad(set_to_none=True)

    def step(self, factor: float, grad_scaler: torch.amp.GradScaler | None = None) -> None:
        """Update the weights at `factor` times each group's rate, then the average.

        With a `grad_scaler` it is the scaler that steps, or skips the step where float16 overflowed; the caller updates it.
        """
        for group, rate in zip(self.torch_optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        first = self.torch_optimizer.param_groups[0]
        self.learning_rate = float(first["lr"] * first.get("d", 1.0))
        if grad_scaler is None:
            self.torch_optimizer.step()
        else:
            grad_scaler.step(self.torch_optimizer)
        if self._ema is not None:
            self._ema.update()

    def state(self) -> OptimizerState:
        """Everything to go on from here, given the weights."""
        tensors: dict[str, Tensor] = {}
        numbers: set[str] = set()
        for name, found in self._states():
            for key, value in found.items():
                if not isinstance(value, Tensor):
                    numbers.add(key)
                tensors[f"{key}.{name}"] = value if isinstance(value, Tensor) else torch.tensor(value, dtype=_number_dtype(value))
        facts: dict[str, Any] = {"groups": self._changed(), "numbers": sorted(numbers)}
        if self._ema is not None:
            tensors |= {f"{_EMA}{name}": weight for name, weight in self._ema.weights().items()}
            facts["num_ema_updates"] = self._ema.num_updates
        return OptimizerState(tensors, facts)

    def restore(self, state: OptimizerState) -> None:
        """Go on as if the updates had been made here; the weights are restored by the caller, before. Copies.

        Raises `ValueError` or `KeyError` where the state is that of another optimizer or adapter.
        """
        indices = {name: index for index, name in enumerate(self._names)}
        states: dict[int, dict[str, Any]] = {}
        averages: dict[str, Tensor] = {}
        for place, tensor in state.tensors.items():
            key, name = place.split(".", 1)
            if name not in indices:
                raise ValueError(f"the optimizer's state is that of another adapter: {name}")
            if place.startswith(_EMA):
                averages[name] = tensor
            else:
                value = tensor.item() if key in state.facts["numbers"] else tensor.clone()
                states.setdefault(indices[name], {})[key] = value
        self._load(states, state.facts.get("groups", []))
        if self._ema is not None:
            self._ema.restore(averages, int(state.facts["num_ema_updates"]))

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """The weights as they would be saved: their moving average, or schedule-free's. Afterwards they are as before, to the bit."""
        if self._ema is not None:
            with self._ema.in_place():
                yield
            return
        if not hasattr(self.torch_optimizer, "eval"):
            yield
            return
        with kept(self._parameters):
            self._set_training(False)
            try:
                yield
            finally:
                self._set_training(True)

    def _load(self, states: dict[int, dict[str, Any]], changed: list[dict[str, Any]]) -> None:
        groups = self.torch_optimizer.state_dict()["param_groups"]
        changed = changed or [{} for _ in groups]
        restored = [
            {"params": group["params"], **initial, **change} for group, initial, change in zip(groups, self._initial, changed, strict=True)
        ]
        self.torch_optimizer.load_state_dict({"state": states, "param_groups": restored})

    def _states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, parameter in self._parameters.items():
            if parameter in self.torch_optimizer.state:
                yield name, self.torch_optimizer.state[parameter]

    def _changed(self) -> list[dict[str, Any]]:
        """What of each group is no longer as it began, the rate apart."""
        return [
            {key: value for key, value in group.items() if key not in _NOT_STATE and (key not in initial or initial[key] != value)}
            for group, initial in zip(self.torch_optimizer.param_groups, self._initial, strict=True)
        ]

    def _set_training(self, is_training: bool) -> None:
        """Schedule-free keeps in the weights the point where gradients are taken; its average is what is saved."""
        switch = getattr(self.torch_optimizer, "train" if is_training else "eval", None)
        if switch is not None:
            switch()


def _groups(spec: TrainingSpec, parameters: Mapping[str, nn.Parameter]) -> list[dict[str, Any]]:
    """Names and rate of the UNet's weights and of the text encoders'; a group without weights is left out."""
    text = [name for name in parameters if name.startswith(("text_encoder.", "text_encoder_2."))]
    unet = [name for name in parameters if name not in set(text)]
    text_rate = spec.learning_rate if spec.text_encoder_lr is None else spec.text_encoder_lr
    return [{"names": names, "lr": rate} for names, rate in ((unet, spec.learning_rate), (text, text_rate)) if names]


def _number_dtype(value: float) -> torch.dtype:
    return torch.float64 if isinstance(value, float) else torch.int64
