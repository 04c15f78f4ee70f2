"""Several processes that train one adapter together, each on its device. Knows nothing of losses, models, or how processes are started.

The micro-steps of an optimizer step are shared out and their gradients added up, once a step and as one piece: an adapter is small beside
its UNet. Every draw belongs to its micro-step, so that the numbers are those of one device, to rounding.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(days=1)
"""A process may paint for hours while the others wait; one that is gone is noticed at once, whatever this is."""


class PeerLost(Exception):
    """A process that trained with this one is gone."""


@dataclass(frozen=True)
class Ranks:
    """This process among its kind; by default one of one."""

    rank: int = 0
    num_processes: int = 1

    def share(self, num_micro_steps: int) -> range:
        """The micro-steps (from 0) that are this process's own; none where there are more processes than micro-steps."""
        return range(self.rank, num_micro_steps, self.num_processes)

    def told_by_first(self, value: float) -> float:
        """What the first process calls with, in all of them. Raises `PeerLost`."""
        if self.num_processes == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        with _peers():
            dist.broadcast(told, 0)
        return float(told)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all of one dtype, by its sum over the processes; the same bits in all of them. Raises `PeerLost`."""
        if self.num_processes == 1:
            return
        total = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
        with _peers():
            dist.all_reduce(total)
        for tensor, part in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))


@contextlib.contextmanager
def joined(rank: int, num_processes: int, rendezvous_path: Path) -> Iterator[Ranks]:
    """Meet the others at a file that was not there before; waits until all are there. Afterwards this process is alone again.

    Over gloo, also from GPUs: a process that dies is an error in the others at once, where NCCL waits; and nothing listens but on loopback.
    Raises `PeerLost`.
    """
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    with _peers():
        store = dist.FileStore(str(rendezvous_path), num_processes)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=num_processes, timeout=PATIENCE)
    try:
        yield Ranks(rank, num_processes)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(str(error)) from error
