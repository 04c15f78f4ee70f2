"""Several processes that train one adapter together, each on its device: accelerate joins them. Knows nothing of losses, models or files.

The micro-steps of an optimizer step are shared out and their gradients added up, once a step and as one piece: an adapter is small beside
its UNet. Every draw belongs to its micro-step, so that the numbers are those of one device, to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Ranks:
    """This process among its kind; one of one unless `accelerate launch` or `torchrun` started several (`RANK`, `WORLD_SIZE`)."""

    def __init__(self, device: Any) -> None:
        """Joins the others; waits until all are there."""
        self.rank, self.num_processes = 0, 1
        if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # Only here: accelerate's state belongs to the process and outlives a training, and one device has no need of it.
            from accelerate import PartialState

            state = PartialState(cpu=torch.device(device).type == "cpu")
            self.rank, self.num_processes = state.process_index, state.num_processes

    def share(self, num_micro_steps: int) -> range:
        """The micro-steps (from 0) that are this process's own; none where there are more processes than micro-steps."""
        return range(self.rank, num_micro_steps, self.num_processes)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all of one dtype and device, by its sum over the processes; the same bits in all of them."""
        if self.num_processes == 1:
            return
        from accelerate.utils import reduce

        total = reduce(torch.cat([tensor.detach().flatten() for tensor in tensors]), "sum")
        for tensor, part in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))
