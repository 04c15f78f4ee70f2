import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
from watchfiles._rust_notify import WatchfilesRustInternalError

from daemon.front import watch
from daemon.front.watch import Watch, is_interesting
from daemon.protocol.errors import NegError
from daemon.protocol.events import SessionChanged


class Bench:
    def __init__(self, folder: Path) -> None:
        self.sessions = folder / "sessions"
        self.told: list[tuple[str, str, str]] = []
        self.running: set[str] = set()
        self.watch = Watch(self.sessions, self.check, self.append, self.busy)

    def check(self, name: str) -> None:
        if "bad" in (self.sessions / name / "session.toml").read_text():
            raise NegError("invalid", "session.toml, line 1: bad.")

    async def append(self, event: SessionChanged) -> None:
        self.told.append((event.session, event.change, event.message))

    async def busy(self) -> Iterable[str]:
        return self.running

    def write(self, path: str, text: str = "good") -> Path:
        file = self.sessions / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    async def until(self, told: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not told():
                await asyncio.sleep(0.02)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_session_is_created_edited_broken_and_deleted(bench: Bench) -> None:
    async def scene() -> None:
        path = bench.write("a/session.toml")
        await bench.watch.note({path})
        await bench.watch.note({path})
        bench.write("a/session.toml", "better")
        await bench.watch.note({path})
        bench.write("a/session.toml", "bad")
        await bench.watch.note({path})
        path.unlink()
        await bench.watch.note({path})

    asyncio.run(scene())
    assert bench.told == [("a", "created", ""), ("a", "edited", ""), ("a", "invalid", "session.toml, line 1: bad."), ("a", "deleted", "")]


def test_dropped_files_are_one_event_for_each_session_and_kind(bench: Bench) -> None:
    async def scene() -> None:
        await bench.watch.note({bench.write("a/session.toml")})
        bench.told.clear()
        await bench.watch.note({bench.write(f"a/dataset/{number}.png") for number in range(5)} | {bench.write("a/dataset/notes.txt")})
        await bench.watch.note({bench.write("a/adapters/mine/pytorch_lora_weights.safetensors")})
        await bench.watch.note({bench.write("no-session/dataset/x.png")})

    asyncio.run(scene())
    assert bench.told == [("a", "images", "5 files"), ("a", "adapters", "1 file")]


def test_files_of_a_running_job_are_its_own_to_tell_about(bench: Bench) -> None:
    async def scene() -> None:
        await bench.watch.note({bench.write("a/session.toml"), bench.write("b/session.toml")})
        bench.told.clear()
        bench.running = {"a"}
        images = {bench.write("a/dataset/x.png"), bench.write("b/dataset/x.png")}
        await bench.watch.note(images)
        bench.running = set()
        await bench.watch.note(images)

    asyncio.run(scene())
    assert [name for name, _, _ in bench.told] == ["b", "b"]


def test_what_programs_leave_behind_is_not_interesting(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "sessions"
    for path in (
        "a/.tmp-1",
        "a/dataset/.thumbnails/64/x.webp",
        "a/dataset/.tmp-9.png",
        "a/cache/x",
        "a/checkpoints/x/y",
        "a/session.toml~",
    ):
        assert not is_interesting(folder, str(folder / path))
    for path in ("a", "a/session.toml", "a/dataset/x.png", "a/adapters/w/x.safetensors"):
        assert is_interesting(folder, str(folder / path))


def test_a_watch_that_breaks_is_begun_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[Exception] = [WatchfilesRustInternalError("error in underlying watcher: OS file watch limit reached"), OSError("gone")]
    changed = watch.changed_paths

    async def breaking(folder: Path) -> AsyncIterator[set[Path]]:
        if faults:
            raise faults.pop()
        async for paths in changed(folder):
            yield paths

    async def instant(seconds: float) -> None:
        await pause(0)

    pause = asyncio.sleep
    monkeypatch.setattr(watch, "changed_paths", breaking)
    monkeypatch.setattr(asyncio, "sleep", instant)

    async def scene() -> None:
        task = asyncio.create_task(bench.watch.run())
        async with asyncio.timeout(30):
            while ("a", "created", "") not in bench.told:
                assert not task.done()
                await pause(0.02)
                bench.write("a/session.toml") if not faults else None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())


def test_the_folder_may_vanish_and_come_back(bench: Bench) -> None:
    async def scene() -> None:
        bench.write("a/session.toml")
        task = asyncio.create_task(bench.watch.run())
        await asyncio.sleep(0.5)
        bench.write("a/session.toml", "edited")
        await bench.until(lambda: ("a", "edited", "") in bench.told)
        shutil.rmtree(bench.sessions)
        await bench.until(lambda: ("a", "deleted", "") in bench.told)
        bench.write("b/session.toml")
        await bench.until(lambda: ("b", "created", "") in bench.told)

        def dropped() -> bool:
            # Again and again: the new folder may be known before it is watched.
            bench.write("b/dataset/x.png")
            return any(change == "images" for _, change, _ in bench.told)

        await bench.until(dropped)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())
