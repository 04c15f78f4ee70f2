"""The training loop every part of the toy shares: seeded by step, averaged over ranks, resumable at any moment.

AdamW, constant learning rate with a cosine tail, an exponential moving average of the weights. Every batch depends on
(seed, step, rank) only, so a run that was killed goes on bit-identically from its checkpoint. Knows no model.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from daemon.toy.checkpoint import load_tensors, save_tensors

Loss = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast one part is trained."""

    name: str
    num_steps: int
    learning_rate: float
    tail_steps: int
    """The last steps, over which a cosine takes the learning rate to zero."""
    warmup_steps: int = 50
    ema_decay: float = 0.998
    weight_decay: float = 1e-4
    save_every: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Rank:
    """This process among those that train together."""

    index: int = 0
    world: int = 1
    device: str = "cpu"


def learning_rate_at(plan: Plan, step: int) -> float:
    """Linear warm-up, constant, cosine to zero over the tail."""
    warm = min(1.0, (step + 1) / plan.warmup_steps)
    into_tail = max(0, step - (plan.num_steps - plan.tail_steps)) / max(1, plan.tail_steps)
    return plan.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, into_tail)))


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """All randomness of one step of one rank."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 64 + rank)


def train(plan: Plan, modules: Mapping[str, nn.Module], loss: Loss, rank: Rank, folder: Path) -> dict[str, Tensor]:
    """Trains the modules in place from `folder`'s checkpoint on, returns the averaged weights as "module.parameter".

    `loss(step, generator)` draws this rank's batch and returns its mean loss. Rank 0 writes `<name>.safetensors`
    (checkpoint), `<name>.jsonl` (losses); a finished run returns at once.
    """
    weights = {f"{part}.{name}": p for part, module in modules.items() for name, p in module.named_parameters()}
    average = {name: weight.detach().clone() for name, weight in weights.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay, fused=True)
    checkpoint = folder / f"{plan.name}.safetensors"
    start = _restore(checkpoint, weights, average, optimizer) if checkpoint.exists() else 0
    log = _Log(folder / f"{plan.name}.jsonl", enabled=rank.index == 0)
    for step in range(start, plan.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(plan, step)
        value = loss(step, step_generator(plan.seed, step, rank.index))
        optimizer.zero_grad(set_to_none=False)
        value.backward()
        _average_gradients(list(weights.values()), rank)
        nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        decay = min(plan.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average.values()), [w.detach() for w in weights.values()], 1 - decay)
        log.add(step, value)
        if rank.index == 0 and ((step + 1) % plan.save_every == 0 or step + 1 == plan.num_steps):
            _save(checkpoint, weights, average, optimizer, step + 1)
    return average


def averaged_weights(checkpoint: Path, part: str) -> dict[str, Tensor]:
    """The moving average of one module's parameters, from a checkpoint."""
    tensors, _ = load_tensors(checkpoint)
    prefix = f"average/{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def steps_done(checkpoint: Path) -> int:
    """Steps a checkpoint holds; 0 where there is none."""
    return int(str(load_tensors(checkpoint)[1]["step"])) if checkpoint.exists() else 0


def _average_gradients(weights: list[nn.Parameter], rank: Rank) -> None:
    """The mean gradient over all ranks, as one message."""
    if rank.world == 1:
        return
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    pieces = (flat / rank.world).split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(pieces, gradients, strict=True)])


def _save(path: Path, weights: dict, average: dict, optimizer: torch.optim.Optimizer, step: int) -> None:
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        state = optimizer.state[weight]
        tensors |= {f"weight/{name}": weight, f"average/{name}": average[name]}
        tensors |= {f"{moment}/{name}": state[moment] for moment in ("exp_avg", "exp_avg_sq") if moment in state}
    save_tensors(path, tensors, {"step": step})


def _restore(path: Path, weights: dict, average: dict, optimizer: torch.optim.Optimizer) -> int:
    tensors, facts = load_tensors(path)
    step = int(str(facts["step"]))
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight/{name}"])
            average[name].copy_(tensors[f"average/{name}"])
            if f"exp_avg/{name}" in tensors:
                moments = {m: tensors[f"{m}/{name}"].to(weight.device) for m in ("exp_avg", "exp_avg_sq")}
                count = torch.tensor(float(step), device=weight.device if weight.is_cuda else "cpu")
                optimizer.state[weight] = {"step": count, **moments}
    return step


class _Log:
    """Mean loss and speed every 50 steps, one JSON object a line."""

    def __init__(self, path: Path, *, enabled: bool) -> None:
        self.path, self.enabled = path, enabled
        self.total, self.count, self.since = 0.0, 0, time.monotonic()

    def add(self, step: int, value: Tensor) -> None:
        self.total, self.count = self.total + float(value.detach()), self.count + 1
        if self.count < 50:
            return
        if self.enabled:
            seconds = time.monotonic() - self.since
            line = {"step": step + 1, "loss": round(self.total / self.count, 5), "seconds": round(seconds, 1)}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.total, self.count, self.since = 0.0, 0, time.monotonic()


def batches(num_items: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Indices of one batch: (batch_size,) int64, drawn with replacement."""
    return torch.randint(num_items, (batch_size,), generator=generator)


def chunks(num_items: int, size: int) -> Iterator[slice]:
    """Slices that cover num_items."""
    for start in range(0, num_items, size):
        yield slice(start, min(num_items, start + size))
