import asyncio

from daemon.front.telemetry import Gpu, NoGpu, find_gpu, tell_gauges
from daemon.protocol.events import EphemeralEvent, Gauges


class FakeGpu:
    def __init__(self) -> None:
        self.num_reads = 0

    def read(self) -> list[Gauges]:
        self.num_reads += 1
        return [Gauges(device="cuda:0", memory_used=self.num_reads)]


def test_without_a_driver_every_reading_is_none() -> None:
    assert NoGpu().read() == [Gauges(device="none")]


def test_a_machine_is_read_whatever_it_has() -> None:
    gauges = find_gpu().read()
    assert gauges
    assert all(isinstance(reading, Gauges) for reading in gauges)


def test_gauges_are_read_only_while_somebody_watches() -> None:
    gpu, told, watched, found = FakeGpu(), list[EphemeralEvent](), False, 0

    def find() -> Gpu:
        nonlocal found
        found += 1
        return gpu

    async def scene() -> None:
        nonlocal watched
        task = asyncio.create_task(tell_gauges(find, told.append, lambda: watched, period=0.005))
        await asyncio.sleep(0.05)
        assert (found, told) == (0, [])
        watched = True
        while len(told) < 3:
            await asyncio.sleep(0.005)
        task.cancel()

    asyncio.run(scene())
    assert found == 1
    assert told[:2] == [Gauges(device="cuda:0", memory_used=1), Gauges(device="cuda:0", memory_used=2)]
