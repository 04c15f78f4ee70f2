"""The worker's memory, seen and steered over a real front with the real engine and the toy model."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from daemon.protocol.commands import LoadModel, Submit, UnloadModel
from daemon.protocol.errors import NegError
from daemon.protocol.events import JobStateChanged, Residents
from negtui.client import Client
from tests.fake_recipes import job


async def until(client: Client, wanted: Callable[[Residents], bool]) -> Residents:
    """The first reading of the worker's memory that is wanted, from a fresh connection's first events on."""
    async with asyncio.timeout(120):
        async for _, event in client.events():
            if isinstance(event, Residents) and wanted(event):
                return event
    raise AssertionError


async def load(client: Client) -> None:
    """Have the session's model loaded, once the worker has started."""
    while True:
        with contextlib.suppress(NegError):
            await client.request(LoadModel(session="fake"))
            return
        await asyncio.sleep(0.1)


def test_a_model_is_loaded_seen_by_who_comes_later_and_given_back(make_front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    front = make_front()
    front.environment["NEGTUI_ENGINE"] = "daemon.engine.models:create_engine"
    front.add_session()
    front.start()

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            await load(client)
            loaded = await until(client, lambda told: not told.doing)
            assert {part.name for part in loaded.parts} >= {"unet", "vae", "text_encoder", "text_encoder_2"}
        async with Client.connect(front.endpoints) as client:
            assert await until(client, lambda told: True) == loaded
        async with Client.connect(front.endpoints) as client:
            await client.request(UnloadModel())
            assert (await until(client, lambda told: not told.doing)).parts == ()

    asyncio.run(scene())


def test_a_model_that_is_not_there_is_told_in_words_and_a_busy_worker_refuses(make_front: Any) -> None:
    front = make_front()
    front.environment["NEGTUI_ENGINE"] = "daemon.engine.models:create_engine"
    folder = front.add_session()
    (folder / "session.toml").write_text('[model]\nbase = "/nowhere"\n')
    front.start()

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            await load(client)
            assert "/nowhere" in (await until(client, lambda told: not told.doing)).error
        async with Client.connect(front.endpoints) as client:
            await client.request(Submit(key="key-00001", spec=job(step_seconds=3.0)))
            async for _, event in client.events(since_seq=0):
                if isinstance(event, JobStateChanged) and event.job.state == "running":
                    break
            await asyncio.sleep(0.2)
            with pytest.raises(NegError) as refused:
                await client.request(UnloadModel())
            assert refused.value.detail.code == "conflict"
            assert "busy" in str(refused.value)

    asyncio.run(scene())
