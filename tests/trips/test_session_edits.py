"""Sessions changed, written, copied and deleted over a real front; nothing outside the folder of sessions is touched."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from daemon.protocol.commands import (
    Cancel,
    ChangeSession,
    DeleteSession,
    DuplicateSession,
    ImportSession,
    ListSessions,
    Submit,
    WriteSession,
)
from daemon.protocol.errors import NegError
from daemon.protocol.events import SessionChanged
from negtui.client import Client
from negtui.packing import pack
from tests.fake_recipes import job

TEXT = '# mine\n[model]\nbase = "toy"  # the small one\n'


def code_of(refused: pytest.ExceptionInfo[NegError]) -> str:
    return refused.value.detail.code


async def heard(client: Client, session: str, change: str) -> None:
    """Wait until the daemon tells of it."""
    async for _, event in client.events(since_seq=0):
        if isinstance(event, SessionChanged) and (event.session, event.change) == (session, change):
            return


def test_two_people_change_different_settings_and_both_stay(front: Any) -> None:
    path = front.places.sessions_path / "fake/session.toml"
    path.write_text(TEXT)

    async def scene() -> None:
        async with Client.connect(front.endpoints) as one, Client.connect(front.endpoints) as two:
            await asyncio.gather(
                one.request(ChangeSession(name="fake", changes={"training.rank": "8"})),
                two.request(ChangeSession(name="fake", changes={"training.seed": "7"})),
            )
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            with pytest.raises(NegError) as refused:
                await one.request(ChangeSession(name="fake", changes={"training.rank": "0"}))
            assert "training.rank is 0; allowed: a whole number from 1 to 1024" in str(refused.value)
            assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
            # Not the first text again: edits that cancel each other out within a moment are not told.
            await one.request(WriteSession(name="fake", text=f"{TEXT}# again\n", sha256=sha256))
            with pytest.raises(NegError) as refused:
                await two.request(WriteSession(name="fake", text=TEXT, sha256=sha256))
            assert code_of(refused) == "conflict"
            await heard(one, "fake", "edited")

    asyncio.run(scene())
    assert path.read_text() == f"{TEXT}# again\n"


def test_a_copy_has_all_but_what_can_be_computed_again(front: Any) -> None:
    fake: Path = front.places.sessions_path / "fake"
    for name in ("dataset/a.png", "adapters/wrong/x.safetensors", "cache/big", "checkpoints/1/x", "dataset/.tmp-torn.png"):
        (fake / name).parent.mkdir(parents=True, exist_ok=True)
        (fake / name).write_bytes(name.encode())

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            await client.request(DuplicateSession(name="fake", new_name="second"))
            await client.request(DuplicateSession(name="fake", new_name="bare", settings_only=True))
            for command, code in (
                (DuplicateSession(name="fake", new_name="second"), "conflict"),
                (DuplicateSession(name="nosuch", new_name="third"), "not_found"),
                (DuplicateSession(name="fake", new_name="../out"), "invalid"),
            ):
                with pytest.raises(NegError) as refused:
                    await client.request(command)
                assert code_of(refused) == code
            await heard(client, "second", "created")
            assert [row.name for row in (await client.request(ListSessions())).sessions] == ["bare", "fake", "second"]  # type: ignore[union-attr]

    asyncio.run(scene())
    copied = sorted(str(path.relative_to(fake.parent / "second")) for path in (fake.parent / "second").rglob("*") if path.is_file())
    assert copied == ["adapters/wrong/x.safetensors", "dataset/a.png", "session.toml"]
    assert [path.name for path in (fake.parent / "bare").iterdir()] == ["session.toml"]
    assert not (front.places.workspace / "out").exists()


def test_packed_over_the_wire_and_taken_again(front: Any) -> None:
    fake: Path = front.places.sessions_path / "fake"
    (fake / "dataset").mkdir()
    (fake / "dataset/a.png").write_bytes(bytes(range(256)) * 2000)
    path = front.places.workspace / "fake.zip"

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            await pack(client.request, client.fetch, "fake", path, note=lambda text: None)
            for command, code in (
                (ImportSession(path=str(path)), "conflict"),
                (ImportSession(path="fake.zip", new_name="second"), "invalid"),
                (ImportSession(path=f"{path}x", new_name="second"), "not_found"),
            ):
                with pytest.raises(NegError) as refused:
                    await client.request(command)
                assert code_of(refused) == code
            await client.request(ImportSession(path=str(path), new_name="second"))
            await heard(client, "second", "created")

    asyncio.run(scene())
    taken = fake.parent / "second"
    for name in ("session.toml", "dataset/a.png"):
        assert (taken / name).read_bytes() == (fake / name).read_bytes()


def test_deleting_needs_the_name_and_no_job_and_leaves_what_is_elsewhere(front: Any) -> None:
    sessions: Path = front.places.sessions_path
    elsewhere = front.places.workspace / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "session.toml").write_text(TEXT)
    (sessions / "linked").symlink_to(elsewhere)
    (sessions / "fake" / "pictures").symlink_to(elsewhere)
    (sessions / "fake" / "big").write_bytes(b"x" * 5000)

    async def scene() -> None:
        async with Client.connect(front.endpoints) as client:
            for typed, name, code in (("fak", "fake", "invalid"), ("nosuch", "nosuch", "not_found"), ("..", "..", "invalid")):
                with pytest.raises(NegError) as refused:
                    await client.request(DeleteSession(name=name, typed=typed))
                assert code_of(refused) == code
            submitted = await client.request(Submit(key="key-00001", spec=job("fake", step_seconds=5.0)))
            with pytest.raises(NegError) as refused:
                await client.request(DeleteSession(name="fake", typed="fake"))
            assert code_of(refused) == "conflict"
            row = (await client.request(Cancel(job_id=submitted.job.id))).job  # type: ignore[union-attr]
            while row.state != "cancelled":
                await asyncio.sleep(0.1)
                row = (await client.request(Cancel(job_id=row.id))).job  # type: ignore[union-attr]
            deleted = await client.request(DeleteSession(name="fake", typed="fake"))
            assert deleted.num_bytes > 5000  # type: ignore[union-attr]
            await client.request(DeleteSession(name="linked", typed="linked"))
            await heard(client, "fake", "deleted")
            with pytest.raises(NegError) as refused:
                await client.request(Submit(key="key-00002", spec=job("fake")))
            assert code_of(refused) == "not_found"

    asyncio.run(scene())
    assert list(sessions.iterdir()) == []
    assert (elsewhere / "session.toml").read_text() == TEXT


def test_what_a_killed_daemon_left_half_made_is_gone_at_the_next_start(front: Any) -> None:
    sessions: Path = front.places.sessions_path
    front.kill()
    (sessions / ".tmp-gone-0123/dataset").mkdir(parents=True)
    (sessions / ".tmp-4567").mkdir()
    front.start()

    async def scene() -> None:
        while len(list(sessions.iterdir())) > 1:
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(scene(), 30))
    assert [path.name for path in sessions.iterdir()] == ["fake"]
