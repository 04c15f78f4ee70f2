"""A disk that is really full: the job is blocked in words, nothing is corrupt, and it goes on by itself when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.protocol.events import ImageSaved
from tests import fake_recipes
from tests.faults.workshop import Workshop, submit, until_all, whole_log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """16 MiB of their own."""
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(120)
def test_a_full_disk_blocks_the_job_in_words_and_it_goes_on(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_fill_and_free(Workshop(small_disk, monkeypatch, "tests.fake_recipes:RECIPES"), small_disk / "filler"))


async def _fill_and_free(workshop: Workshop, filler: Path) -> None:
    workshop.session_path("fake").mkdir()
    async with workshop.open() as client:
        job = await submit(client, fake_recipes.job("fake", num_images=60, steps=2, step_seconds=0.02))
        await until_all(client, [job], "running")
        await asyncio.sleep(0.5)
        with pytest.raises(OSError, match="No space"):
            _fill(filler)
        blocked = (await until_all(client, [job], "blocked"))[job]
        assert "goes on by itself" in blocked.reason
        filler.unlink()
        await until_all(client, [job], "done")
        images = [event.index for _, event in await whole_log(client) if isinstance(event, ImageSaved)]
    assert images == list(range(60))


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
