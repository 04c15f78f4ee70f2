"""A disk that is really full: a small tmpfs in a mount namespace of its own, with database, sessions and worker on it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, sqlite3, sys
from pathlib import Path
from daemon.jobs.local import LocalExecutor
from daemon.jobs.queue import DiskLimits, JobQueue
from daemon.jobs.scheduler import Scheduler
from daemon.jobs.slot import Policy
from daemon.store.db import Store
from daemon.store.events import EventLog
from tests import fake_recipes
from tests.job_specs import submission, until_state

NUM_IMAGES = 300

def fill(path):
    with path.open("wb", buffering=0) as file:
        size = 2**20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2

async def main(folder):
    (folder / "sessions" / "fake").mkdir(parents=True)
    store = await Store.open(folder / "neg.db", ballast_bytes=2**20)
    ballast = folder / "neg.ballast"
    assert ballast.exists()
    queue = JobQueue(store, EventLog(store), folder / "sessions", DiskLimits(0, 3 * 2**20))
    environment = {"NEGTUI_RECIPES": "tests.fake_recipes:RECIPES"}
    executor = LocalExecutor(folder.parent / "log", folder / "cache", environment=environment)
    scheduler = Scheduler(queue, executor, Policy(restart_seconds=(0.05, 0.05), poll_seconds=0.05))
    await scheduler.start()
    job = (await queue.submit(submission(spec=fake_recipes.job(num_images=NUM_IMAGES, step_seconds=0.001)))).job
    while not fake_recipes.computed(folder / "sessions" / "fake"):
        await asyncio.sleep(0.01)
    fill(folder / "filler")
    blocked = await until_state(queue, job.id, "blocked")
    assert "goes on by itself when there is room" in blocked.reason, blocked
    print("ballast given up:", not ballast.exists())
    (folder / "filler").unlink()
    done = await until_state(queue, job.id, "done", "failed")
    assert done.state == "done", done
    stored = await queue.log.read(0, 10_000)
    assert [event.seq for event in stored] == list(range(1, queue.log.head_seq + 1))
    kinds = await store.read(lambda c: dict(c.execute("SELECT kind, count(*) FROM event GROUP BY kind")))
    assert kinds["ImageSaved"] == NUM_IMAGES, kinds
    assert await store.read(lambda c: c.execute("PRAGMA integrity_check").fetchone()) == ("ok",)
    computed = fake_recipes.computed(folder / "sessions" / "fake")
    assert len(computed) == len(set(computed)), "a picture was computed twice"
    assert not list((folder / "sessions").rglob(".tmp-*"))
    await scheduler.close()
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_full_disk_blocks_in_words_and_room_lets_the_job_go_on(tmp_path: Path, repository: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    in_namespace = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=12m none "$0" && exec "$@"', str(small)]
    if subprocess.run([*in_namespace, "true"], capture_output=True, timeout=60).returncode != 0:
        pytest.skip("no mount namespaces here")
    command = [*in_namespace, sys.executable, "-c", SCRIPT, str(small)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert "ballast given up: True" in ended.stdout
