"""accelerate for one training: its precision, its device, and the processes that share its steps. Knows nothing of losses, models, or how
processes are started.

The micro-steps of an optimizer step are shared out and their gradients added up, once a step and as one piece: an adapter is small beside
its UNet. Every draw belongs to its micro-step, so that the numbers are those of one device, to rounding.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import InitProcessGroupKwargs, broadcast, patch_environment
from torch import Tensor

PATIENCE = timedelta(days=1)
"""A process may paint for hours while the others wait; one that is gone is noticed at once, whatever this is."""
_MIXED_PRECISION = {torch.float32: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}


class PeerLost(Exception):
    """A process that trained with this one is gone."""


@contextlib.contextmanager
def accelerated(
    device: torch.device, dtype: torch.dtype, rank: int = 0, num_processes: int = 1, rendezvous_path: Path | None = None
) -> Iterator[Accelerator]:
    """An accelerator that computes on `device`, where the model lies, in `dtype`.

    Several processes meet at a file that was not there before; waits until all are there. Over gloo, also from GPUs: a process that dies is
    an error in the others at once, where NCCL waits; and nothing listens but on loopback. Raises `PeerLost`.
    """
    group = [] if rendezvous_path is None else [InitProcessGroupKwargs(backend="gloo")]
    # Another library may have asked accelerate where it is.
    _forget()
    try:
        if rendezvous_path is not None:
            _meet(rank, num_processes, rendezvous_path)
        with patch_environment(**_environment(device, rank, num_processes)):
            accelerator = Accelerator(mixed_precision=_MIXED_PRECISION[dtype], cpu=device.type == "cpu", kwargs_handlers=group)
        # accelerate leaves fp16 out on a CPU; torch has it there too.
        accelerator.native_amp = dtype != torch.float32
        yield accelerator
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        _forget()


def own_micro_steps(accelerator: Accelerator, num_micro_steps: int) -> range:
    """The micro-steps (from 0) that are this process's own; none where there are more processes than micro-steps."""
    return range(accelerator.process_index, num_micro_steps, accelerator.num_processes)


def told_by_first(accelerator: Accelerator, value: float) -> float:
    """What the first process calls with, in all of them. Raises `PeerLost`."""
    if accelerator.num_processes == 1:
        return value
    with _peers():
        return float(broadcast(torch.tensor([value], dtype=torch.float64)))


def add_up(accelerator: Accelerator, tensors: Sequence[Tensor]) -> None:
    """Replace each tensor, all of one dtype, by its sum over the processes; the same bits in all of them. Raises `PeerLost`."""
    if accelerator.num_processes == 1:
        return
    own = torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu()
    with _peers():
        total = accelerator.reduce(own, "sum")
    for tensor, part in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.detach().copy_(part.view_as(tensor))


def _meet(rank: int, num_processes: int, rendezvous_path: Path) -> None:
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    with _peers():
        store = dist.FileStore(str(rendezvous_path), num_processes)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=num_processes, timeout=PATIENCE)


def _environment(device: torch.device, rank: int, num_processes: int) -> dict[str, object]:
    """What accelerate reads from the environment, which its launcher sets elsewhere."""
    return {
        "ACCELERATE_TORCH_DEVICE": device,
        # It refuses some GPUs that stand side by side, for NCCL's sake.
        "NCCL_P2P_DISABLE": 1,
        "NCCL_IB_DISABLE": 1,
        # Else it would set the number of threads.
        "OMP_NUM_THREADS": torch.get_num_threads(),
        "RANK": rank,
        "WORLD_SIZE": num_processes,
        "LOCAL_RANK": rank if num_processes > 1 else -1,
        "LOCAL_WORLD_SIZE": num_processes,
        # It sets one where there is none, and leaves it.
        "MASTER_PORT": 0,
    }


def _forget() -> None:
    """Forget what accelerate knows of this process: it knows it once and for all, and a worker outlives its trainings."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(str(error)) from error
