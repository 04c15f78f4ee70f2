"""How much memory parts may take, which of them lie there, and who goes first when another needs room."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from daemon.config import environment_number
from daemon.engine.base import GpuBytes

Result = TypeVar("Result")

RESERVED_BYTES = 3 * 2**29
"""1.5 GiB that the driver, cuBLAS and fragmentation take."""

CAP_VARIABLE = "NEGTUI_MEMORY_CAP_GIB"

_log = logging.getLogger(__name__)


@dataclass
class Part:
    """Something loaded, its size, and when it was last asked for (monotonic seconds). `role` is whose UNet it is."""

    content: Any
    num_bytes: int
    role: str
    last_used: float = field(default_factory=time.monotonic)


class PartStore:
    """Loaded parts by content, each once. `budget`: bytes, None without limit."""

    def __init__(self, budget: Callable[[], int | None]) -> None:
        self._budget = budget
        self._parts: dict[str, Part] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self._parts.values())

    def keys(self) -> tuple[str, ...]:
        return tuple(self._parts)

    def items(self) -> list[tuple[str, Part]]:
        """All parts as they are now, by key; for any thread."""
        return list(self._parts.items())

    def get(self, key: str) -> Any:
        """A part that is here; KeyError otherwise."""
        part = self._parts[key]
        part.last_used = time.monotonic()
        return part.content

    def put(self, key: str, content: Any, role: str) -> None:
        self._parts[key] = Part(content, module_bytes(content), role)

    def make_room(self, num_bytes: int, keep: Collection[str]) -> list[str]:
        """Drop parts not in `keep` until `num_bytes` more fit the budget: another refiner's first, then the least recently used."""
        budget = self._budget()
        dropped = []
        candidates = sorted(
            (key for key in self._parts if key not in keep),
            key=lambda key: (self._parts[key].role != "refiner", self._parts[key].last_used),
        )
        while budget is not None and candidates and self.num_bytes + num_bytes > budget:
            dropped.append(candidates.pop(0))
            del self._parts[dropped[-1]]
        if dropped:
            free_cached()
        return dropped

    def drop_content(self, content: Any) -> None:
        """Forget one part by identity."""
        self._parts = {key: part for key, part in self._parts.items() if part.content is not content}

    def drop_all_but(self, keep: Collection[str]) -> list[str]:
        dropped = [key for key in self._parts if key not in keep]
        for key in dropped:
            del self._parts[key]
        free_cached()
        return dropped


def module_bytes(content: Any) -> int:
    """Bytes of a module's parameters and buffers; 0 for what is no module."""
    if not isinstance(content, nn.Module):
        return 0
    return sum(tensor.nbytes for tensor in (*content.parameters(), *content.buffers()))


def device_budget(device: str, working_bytes: int) -> int | None:
    """Bytes that parts may take on a device beside `working_bytes` of activations; None: no limit known (a CPU without a cap)."""
    if os.environ.get(CAP_VARIABLE):
        return int(environment_number(CAP_VARIABLE, 0.0) * 2**30) - working_bytes
    if device != "cuda":
        return None
    _, total = torch.cuda.mem_get_info()
    return int(total) - RESERVED_BYTES - working_bytes


def gpu_bytes() -> GpuBytes | None:
    """What this process's torch takes of its GPU; None before it uses one. From any thread."""
    if not torch.cuda.is_initialized():
        return None
    return GpuBytes(torch.cuda.memory_allocated(), torch.cuda.memory_reserved())


def free_cached() -> None:
    """Give freed memory back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retrying(action: Callable[[], Result], rungs: Sequence[tuple[str, Callable[[], object]]]) -> Result:
    """Run `action`; out of memory, climb the next rung (make room, in words) and run it again, until there is none left.

    Room is made outside the `except`: the traceback holds the tensors that did not fit.
    """
    remaining = list(rungs)
    while True:
        try:
            return action()
        except torch.OutOfMemoryError:
            if not remaining:
                raise
        words, make_room = remaining.pop(0)
        _log.warning("Out of memory: %s, and again.", words)
        make_room()


@contextlib.contextmanager
def at_work(module: nn.Module, device: Any, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Have a module on `device` (and in `dtype`) inside the block; afterwards it lies where it lay, as it was.

    Going to a wider dtype and back loses nothing. Nothing is moved where all is so already.
    """
    found = next(module.parameters())
    place, precision = found.device, found.dtype
    device, dtype = torch.device(device), dtype or precision
    is_there = place.type == device.type and device.index in (None, place.index)
    if is_there and precision == dtype:
        yield
        return
    # diffusers' own `to` warns of every cast.
    nn.Module.to(module, device, dtype)
    try:
        yield
    finally:
        nn.Module.to(module, place, precision)


def move_aside(*modules: nn.Module) -> None:
    """Take modules off the device, into the host's memory, until they are used `at_work`."""
    for module in modules:
        nn.Module.to(module, "cpu")
    free_cached()


def prepare_torch() -> None:
    """Once a process: threads, repeatable kernels where they cost little, no progress bars."""
    import diffusers
    import transformers

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(num_physical_cores())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def num_physical_cores() -> int:
    """Cores this process may run on, hyper-threads counted once, not more than its control group allows."""
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            cores.add(((topology / "physical_package_id").read_text(), (topology / "core_id").read_text()))
        except OSError:
            return len(allowed)
    return max(1, min(len(cores), _group_limit()))


def _group_limit() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return len(os.sched_getaffinity(0))
