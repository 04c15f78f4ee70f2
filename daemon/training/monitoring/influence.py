"""How far the adapter moves the prediction: for its own prompt (separation) and for ordinary ones (leak).

Both are relative distances between the prediction with the adapter (e_on) and without it (e_off), at the same noisy latents and timesteps:

    influence(prompt) = mean over latents x and timesteps t of  |e_on(x_t, t, prompt) - e_off(x_t, t, prompt)| / |e_off(x_t, t, prompt)|

where | | is the L2 norm over one image's (C, H, W), x the held-out latents (the first `NUM_IMAGES`), noised as for the held-out loss.
0: the adapter does nothing. `separation` is the influence on the instance prompt; `leak` the mean influence on the ordinary prompts, of
which no caption at all is always one. A good negative adapter separates much and leaks little. Knows nothing of when it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.held_out import NUM_TIMESTEPS, Denoiser, HeldOutBatch, fixed_noise, fixed_timesteps
from daemon.training.objective.loss import add_noise

NUM_IMAGES = 4
MAX_PROMPTS = 8
SMALLEST = 1e-12
"""Stands for the length of a prediction that is all zeros."""


def ordinary_prompts(spec: TrainingSpec) -> tuple[str | None, ...]:
    """The prompts that leak is measured on: those of preservation, the class prompt, the samples' (at most `MAX_PROMPTS`), and None.

    None is the unconditional one. The instance prompt itself is never among them.
    """
    words = dict.fromkeys((*spec.preservation_prompts, spec.class_prompt, *spec.sample_prompts))
    return (*[prompt for prompt in words if prompt and prompt != spec.instance_prompt][:MAX_PROMPTS], None)


class Influence:
    """Separation and leak of one run.

    The predictions without the adapter never change: they are computed once and kept in memory, on the
    CPU (at most 160 of the latents' size: 40 MiB for pictures of 1024 x 1024).
    """

    def __init__(self, denoiser: Denoiser, spec: TrainingSpec) -> None:
        self._denoiser, self._spec = denoiser, spec
        self._prompts = (spec.instance_prompt, *ordinary_prompts(spec))
        self._without: dict[tuple[str | None, int], Tensor] = {}

    def num_forwards(self, batches: Sequence[HeldOutBatch]) -> int:
        """How often `measure` will call `check`."""
        num_batches = num_images = 0
        for batch in batches:
            num_batches += num_images < NUM_IMAGES
            num_images += len(batch.captions)
        return NUM_TIMESTEPS * num_batches * len(self._prompts)

    @torch.no_grad()
    def measure(self, batches: Sequence[HeldOutBatch], check: Callable[[], None]) -> dict[str, float]:
        """`separation` and `leak` as the module's words define them; `check` is called for every prediction and may raise."""
        found = {prompt: self._influence_on(prompt, batches, check) for prompt in self._prompts}
        separation = found.pop(self._spec.instance_prompt)
        return {"separation": separation, "leak": sum(found.values()) / len(found)}

    def _influence_on(self, prompt: str | None, batches: Sequence[HeldOutBatch], check: Callable[[], None]) -> float:
        denoiser, distances = self._denoiser, []
        for place, (noisy_BCHW, timesteps_B, time_ids_B6) in enumerate(_fixed_inputs(denoiser, self._spec, batches)):
            check()
            captions = (prompt,) * len(noisy_BCHW)
            if (prompt, place) not in self._without:
                with denoiser.off():
                    unmoved_BCHW = denoiser.predict(noisy_BCHW, timesteps_B, denoiser.encode(captions), time_ids_B6)
                self._without[prompt, place] = unmoved_BCHW.float().cpu()
            without_BCHW = self._without[prompt, place].double()
            with_BCHW = denoiser.predict(noisy_BCHW, timesteps_B, denoiser.encode(captions), time_ids_B6).cpu().double()
            moved_B, length_B = (with_BCHW - without_BCHW).flatten(1).norm(dim=1), without_BCHW.flatten(1).norm(dim=1)
            distances.append(moved_B / length_B.clamp_min(SMALLEST))
        return float(torch.cat(distances).mean())


def _fixed_inputs(denoiser: Denoiser, spec: TrainingSpec, batches: Sequence[HeldOutBatch]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Noisy latents, timesteps and time ids of the first `NUM_IMAGES` held-out images, on the device."""
    num_images = 0
    for batch in batches:
        size = min(len(batch.captions), NUM_IMAGES - num_images)
        if size <= 0:
            return
        latents_BCHW, time_ids_B6 = batch.latents_BCHW[:size], batch.time_ids_B6[:size].to(denoiser.device)
        for level, timesteps_B in enumerate(fixed_timesteps(denoiser, spec, num_images, size)):
            noise_BCHW = fixed_noise(latents_BCHW, num_images, level)
            noisy_BCHW = add_noise(denoiser.schedule, latents_BCHW.to(denoiser.device), noise_BCHW.to(denoiser.device), timesteps_B)
            yield noisy_BCHW, timesteps_B, time_ids_B6
        num_images += size
