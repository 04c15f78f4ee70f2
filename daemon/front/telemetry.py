"""Gauges of the devices, once a second, read by NVML in a thread: no CUDA context, no torch. No driver is "n/a", not an error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Protocol

from daemon.protocol.events import EphemeralEvent, Gauges

PERIOD_SECONDS = 1.0

log = logging.getLogger(__name__)


class Gpu(Protocol):
    """The devices of this machine."""

    def read(self) -> list[Gauges]:
        """A reading of each device; bytes, 0..100 %, degrees Celsius, watts. Never raises."""


class NoGpu:
    """A machine without a driver."""

    def read(self) -> list[Gauges]:
        return [Gauges(device="none")]


class NvmlGpu:
    """NVIDIA devices by NVML. Raises `pynvml.NVMLError` where there is no driver."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml
        pynvml.nvmlInit()
        self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]

    def read(self) -> list[Gauges]:
        return [self._read_one(f"cuda:{index}", device) for index, device in enumerate(self._handles)]

    def _read_one(self, name: str, device: Any) -> Gauges:
        nvml = self._nvml
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, device)
        utilisation = self._ask(nvml.nvmlDeviceGetUtilizationRates, device)
        temperature = self._ask(nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU)
        milliwatts = self._ask(nvml.nvmlDeviceGetPowerUsage, device)
        return Gauges(
            device=name,
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            utilisation=None if utilisation is None else float(utilisation.gpu),
            temperature=None if temperature is None else float(temperature),
            power_watts=None if milliwatts is None else milliwatts / 1000.0,
        )

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        # MIG slices and old drivers lack single readings.
        with contextlib.suppress(self._nvml.NVMLError):
            return question(*arguments)
        return None


def find_gpu() -> Gpu:
    """NVML where there is a driver, else `NoGpu`."""
    try:
        return NvmlGpu()
    except Exception as error:
        log.info("No GPU readings: %s", error)
        return NoGpu()


async def tell_gauges(
    find: Callable[[], Gpu], tell: Callable[[EphemeralEvent], None], is_watched: Callable[[], bool], period: float = PERIOD_SECONDS
) -> None:
    """Read every `period` seconds for ever, while anybody watches."""
    gpu: Gpu | None = None
    while True:
        if is_watched():
            if gpu is None:
                gpu = await asyncio.to_thread(find)
            for gauges in await asyncio.to_thread(gpu.read):
                tell(gauges)
        await asyncio.sleep(period)
