"""A line between ssh and sshd as a bad one is: so many bits a second and a round trip, both ways, with the small buffer of a modem."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

BUFFER_BYTES = 32_768
CHUNK = 1400


class SlowLink:
    """Forwards a port of the loopback. Times hold as well as the event loop's; bytes and their order always."""

    def __init__(self, target_port: int, *, bits_per_second: float, round_trip_seconds: float) -> None:
        self._target_port = target_port
        self._seconds_per_byte = 8.0 / bits_per_second
        self._delay = round_trip_seconds / 2
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def open(self) -> Iterator[int]:
        """The port to connect to."""
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            asyncio.run_coroutine_threadsafe(self._end(server), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, there_writer))
                group.create_task(self._carry(there_reader, writer))
        except ExceptionGroup:
            pass  # an end has hung up
        finally:
            for end in (writer, there_writer):
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read as fast as the line takes it; what is on it arrives later."""
        loop = asyncio.get_running_loop()
        on_line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BUFFER_BYTES // CHUNK)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(on_line, writer))
            is_free = loop.time()
            while content := await reader.read(CHUNK):
                is_free = max(is_free, loop.time()) + len(content) * self._seconds_per_byte
                await asyncio.sleep(max(0.0, is_free - loop.time()))
                await on_line.put((is_free + self._delay, content))
            raise ConnectionResetError

    async def _deliver(self, on_line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            arrives, content = await on_line.get()
            await asyncio.sleep(max(0.0, arrives - asyncio.get_running_loop().time()))
            writer.write(content)
            await writer.drain()
