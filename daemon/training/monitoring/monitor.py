"""What is measured and painted at which step of a training, with the weights as they would be saved. Afterwards training goes on untouched.

Knows nothing of steps being taken, of checkpoints, or of when to stop. Its whole state is `facts`, which a checkpoint keeps.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from daemon.adapters import tensors
from daemon.protocol.events import DurableEvent, Logged, SamplesSaved, StepProgress
from daemon.protocol.training_spec import TrainingSpec
from daemon.recipe import JobContext
from daemon.training.monitoring.held_out import NUM_TIMESTEPS, Denoiser, HeldOutBatch, held_out_loss
from daemon.training.monitoring.influence import Influence
from daemon.training.monitoring.metrics import Measurement
from daemon.training.monitoring.sample_lines import ARMS, sampled_values
from daemon.training.monitoring.samples import Sampler, weights_sha256


class NotFiniteMeasure(Exception):
    """A figure that is NaN or infinite: the weights are worth nothing any more."""


class Monitor:
    """Measures every `validation_steps`, paints every `sample_steps`; both before the first step and at the end too."""

    def __init__(
        self,
        spec: TrainingSpec,
        context: JobContext,
        denoiser: Denoiser,
        sampler: Sampler,
        held_out: Callable[[], Sequence[HeldOutBatch]],
        weights: Callable[[], Mapping[str, torch.Tensor]],
        evaluating: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        """`weights()` are those of the adapter that are in place; inside `evaluating()` they are what would be saved."""
        self._spec, self._context, self._denoiser, self._sampler = spec, context, denoiser, sampler
        self._held_out, self._weights, self._evaluating = held_out, weights, evaluating
        self._influence = Influence(denoiser, spec)
        self._done = {"measured": -1, "sampled": -1}

    def facts(self) -> dict[str, int]:
        """The steps of the last measurement and the last samples; -1: none yet."""
        return dict(self._done)

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Go on from `facts`: what was done at a step is not done again."""
        self._done = {name: int(facts.get(name, -1)) for name in self._done}

    def at(self, step: int, *, is_end: bool = False) -> Iterator[DurableEvent | Measurement]:
        """All that is due after `step`: measurements to be recorded, and events. Raises `Interrupted`, and `NotFiniteMeasure`."""
        if self._is_due("measured", self._spec.validation_steps, step, is_end):
            found = self.measure(step)
            self._done["measured"] = step
            yield found
        if self._spec.sample_prompts and self._is_due("sampled", self._spec.sample_steps, step, is_end):
            told = list(self.sample(step))
            self._done["sampled"] = step
            yield from told

    def measure(self, step: int) -> Measurement:
        """Held-out loss, separation and leak."""
        with self._untouched("validate"):
            batches = self._held_out()
            check = self._counting(NUM_TIMESTEPS * len(batches) + self._influence.num_forwards(batches))
            values = {"held_out_loss": held_out_loss(self._denoiser, self._spec, batches, check)}
            values |= self._influence.measure(batches, check)
        return _finite(Measurement(step, values))

    def sample(self, step: int) -> Iterator[DurableEvent | Measurement]:
        """Pictures, and what a scorer finds in them. Where they do not fit the device, that is told and the training goes on."""
        try:
            saved = self._paint(step)
        except torch.OutOfMemoryError as error:
            reason = str(error).split(".")[0]
        else:
            values = sampled_values(saved)
            if values:
                yield _finite(Measurement(step, values))
            yield saved
            return
        message = f"The samples of step {step} are left out: they do not fit the device ({reason})."
        yield Logged(job_id=self._context.job_id, level="warning", message=message)

    def _paint(self, step: int) -> SamplesSaved:
        # A fresh adapter does nothing: before the first step there is no target to show, unless training began from another.
        arms = ARMS if step or self._spec.init_adapter else ARMS[:2]
        with self._untouched("sample"):
            name = weights_sha256(tensors.to_bytes(self._weights()))
            return self._sampler.paint(step, name, self._denoiser.off, arms)

    def _is_due(self, name: str, every: int, step: int, is_end: bool) -> bool:
        return bool(every) and (step % every == 0 or is_end) and self._done[name] != step

    @contextlib.contextmanager
    def _untouched(self, phase: str) -> Iterator[None]:
        """The weights as saved; no draw of the training touched; nothing compiled for shapes that training does not have."""
        device = torch.device(self._denoiser.device)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._context.phase(phase))
            stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
            if self._spec.torch_compile:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(self._evaluating())
            yield

    def _counting(self, num_calls: int) -> Callable[[], None]:
        """Stops where asked, and tells how far the measuring is."""
        count = 0

        def check() -> None:
            nonlocal count
            self._context.check()
            self._context.tell(StepProgress(job_id=self._context.job_id, phase="validate", step=count, num_steps=num_calls))
            count += 1

        return check


def _finite(measurement: Measurement) -> Measurement:
    for name, value in measurement.values.items():
        if not math.isfinite(value):
            raise NotFiniteMeasure(f"{name} became {value}")
    return measurement
