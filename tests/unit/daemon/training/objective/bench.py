"""A trainer on the tiny SDXL, with posteriors that were drawn once, and the reference's loop beside it. Started as a program: one rank.

python bench.py SPEC.json RANK NUM_PROCESSES      # trains, prints losses and gradient norms as JSON
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers import DDPMScheduler

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[5])]

from objective.reference import Drawn, Reference
from tiny_sdxl import SPEC, make_parts

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.accelerated import accelerated, told_by_first
from daemon.training.adapters.attach import attached
from daemon.training.adapters.textual_inversion import attached_embedding
from daemon.training.data.draws import Stream, draw_seed
from daemon.training.objective.conditioning import CachedConditioner, make_conditioner
from daemon.training.objective.loss import noise_schedule
from daemon.training.optimizers.make import AdapterOptimizer
from daemon.training.trainer import Trainer

NUM_IMAGES = 5


@dataclass(frozen=True)
class Batch:
    latents_BCHW: torch.Tensor
    time_ids_B6: torch.Tensor
    captions: tuple[str | None, ...]
    num_class: int = 0


@dataclass
class Batches:
    """Instance rows, then as many class rows; every image has another size. Remembers what was drawn."""

    spec: TrainingSpec
    drawn: list[tuple[int, int]] = field(default_factory=list)
    spoilt_from: int = 10**9
    """From this step on, latents are no numbers."""
    without_captions: tuple[int, ...] = ()
    """Steps whose captions are all dropped."""

    def draw(self, step: int, micro_step: int) -> Batch:
        spec = self.spec
        self.drawn.append((step, micro_step))
        number = (step - 1) * spec.gradient_accumulation_steps + micro_step
        size = spec.train_batch_size
        images = [shown.index for shown in Stream(NUM_IMAGES, 1, spec.seed).batch(number, size)]
        num_class = size if spec.with_prior_preservation else 0
        images += [NUM_IMAGES + image for image in images[:num_class]]
        latents = torch.cat([_posterior(image) for image in images])
        latents += 0.1 * torch.randn(latents.shape, generator=_generator(spec.seed, "posterior", step, micro_step))
        caption = None if step in self.without_captions else spec.instance_prompt
        captions = (caption,) * size + (spec.class_prompt,) * num_class
        time_ids = torch.tensor([[32.0 + 8 * image, 32.0, 0.0, 0.0, 32.0, 32.0] for image in images])
        return Batch(latents * torch.nan if step >= self.spoilt_from else latents, time_ids, captions, num_class)


class Bench:
    """Everything a trainer is made of. `folder`: of the text cache."""

    def __init__(self, parts: Any, folder: Path, **changes: object) -> None:
        self.parts, self.folder = parts, folder
        self.spec = msgspec.structs.replace(SPEC, **changes)
        self.batches = Batches(self.spec)
        self.schedule = noise_schedule(parts.noise_scheduler)
        self._reference_conditioner = CachedConditioner(parts, parts.identity, folder)

    @contextlib.contextmanager
    def lent(self, *together: Any) -> Iterator[tuple[Trainer, Any]]:
        """A fresh trainer and its adapter. `together`: rank, number of processes, and where they meet; none: alone."""
        attach = attached_embedding if self.spec.method == "textual_inversion" else attached
        with attach(self.parts, self.spec) as adapter:
            conditioner = make_conditioner(self.spec, self.parts, self.parts.identity, self.folder)
            optimizer = AdapterOptimizer(self.spec, adapter.parameters, self.parts.device)
            trainer = Trainer(self.spec, self.parts, adapter, self.schedule, self.batches, conditioner, optimizer)
            with accelerated(trainer.device, trainer.dtype, *together) as accelerator:
                trainer.join(accelerator)
                yield trainer, adapter
                if together:
                    # Who leaves first would cut the others off from what they have not read yet.
                    told_by_first(accelerator, 0.0)

    def train(self, num_steps: int, *together: Any) -> tuple[list[Any], dict[str, torch.Tensor]]:
        """Points and weights of so many steps."""
        with self.lent(*together) as (trainer, adapter):
            points = [trainer.take_step() for _ in range(num_steps)]
            return points, copy(adapter.weights())

    def drawn(self, step: int, micro_step: int) -> Drawn:
        """What the trainer draws for a micro-step, drawn here again as the reference draws it."""
        batch = Batches(self.spec).draw(step, micro_step)
        conditioning = self._reference_conditioner.encode(batch.captions)
        return Drawn(
            model_input=batch.latents_BCHW,
            noise=torch.randn(batch.latents_BCHW.shape, generator=_generator(self.spec.seed, "noise", step, micro_step)),
            timesteps=torch.randint(0, 1000, (len(batch.captions),), generator=_generator(self.spec.seed, "timesteps", step, micro_step)),
            time_ids=batch.time_ids_B6,
            prompt_embeds=conditioning.prompt_embeds,
            pooled_prompt_embeds=conditioning.pooled_prompt_embeds,
        )

    def reference(self) -> Reference:
        """The reference's loss at this spec."""
        spec = self.spec
        scheduler = DDPMScheduler.from_config(self.parts.noise_scheduler.config)
        return Reference(self.parts.unet, scheduler, spec.with_prior_preservation, spec.prior_loss_weight, spec.snr_gamma)

    def train_reference(self, num_steps: int) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
        """The reference's loop from the same beginning at the same draws: losses, gradient norms, weights."""
        spec, reference = self.spec, self.reference()
        with attached(self.parts, spec) as adapter:
            parameters = list(adapter.parameters.values())
            betas = (spec.adam_beta1, spec.adam_beta2)
            optimizer = torch.optim.AdamW(parameters, spec.learning_rate, betas, spec.adam_epsilon, spec.adam_weight_decay, fused=True)
            losses, norms = [], []
            for step in range(1, num_steps + 1):
                window = []
                for micro_step in range(spec.gradient_accumulation_steps):
                    loss = reference.loss(self.drawn(step, micro_step))
                    (loss / spec.gradient_accumulation_steps).backward()
                    window.append(loss.item())
                norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)))
                optimizer.step()
                optimizer.zero_grad()
                losses.append(sum(window) / len(window))
            return losses, norms, copy(adapter.weights())


def copy(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in weights.items()}


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _posterior(image: int) -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(image))


def _generator(seed: int, purpose: str, step: int, micro_step: int) -> torch.Generator:
    return torch.Generator().manual_seed(draw_seed(seed, purpose, step, micro_step))


def trained(folder: Path, changes: dict[str, Any], *together: Any) -> dict[str, Any]:
    """What a few steps come to."""
    points, weights = Bench(make_parts(), folder / "text", **changes).train(4, *together)
    total = sum(float(weight.double().sum()) for weight in weights.values())
    return {"losses": [point.loss for point in points], "norms": [point.grad_norm for point in points], "total": total}


def main() -> None:
    torch.set_num_threads(1)
    path, rank, num_processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(trained(path.parent, msgspec.json.decode(path.read_bytes()), rank, num_processes, path.with_name("rendezvous"))))


if __name__ == "__main__":
    main()
