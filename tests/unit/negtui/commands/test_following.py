from __future__ import annotations

from daemon.protocol.commands import Cancel
from tests.fake_daemon import JOBS, FakeDaemon, call, good, moved


def test_an_interrupted_command_leaves_its_jobs_and_says_how_to_follow_them() -> None:
    daemon = FakeDaemon(lambda row: [moved(row, "running", started=1.0)])
    daemon.interrupts = True
    code, _, err = call(daemon, "run", "toy")
    assert code == 4
    assert "negtui follow job1 job2 job3" in err
    assert not any(isinstance(command, Cancel) for command in daemon.asked)
    assert daemon.is_closed
    daemon.interrupts = True
    code, _, err = call(daemon, "logs", "-f", "job1")
    assert code == 4
    assert "negtui logs -f job1" in err


def test_follow_shows_jobs_to_their_end() -> None:
    daemon = FakeDaemon()
    done, queued = daemon.add(JOBS["train"], "done", started=1.0, finished=3.0), daemon.add(JOBS["synthesize"])
    daemon.pending = list(good(queued))
    code, out, _ = call(daemon, "follow", queued.id, done.id)
    assert code == 0
    assert "train toy: done in 2.0 s" in out
    assert "synthesise toy: done in 1 min 00 s" in out


def test_logs_tell_all_events_of_a_job_page_by_page() -> None:
    daemon = FakeDaemon()
    row, other = daemon.add(JOBS["synthesize"], "done"), daemon.add(JOBS["train"], "done")
    daemon.log = [*good(row), *good(other)]
    code, out, _ = call(daemon, "logs", row.id)
    assert code == 0
    assert [line.split("  ", 1)[1] for line in out.splitlines()] == [
        "running",
        *[f"image {number} of 4 saved: dataset/{number - 1}.png (blurry)" for number in (1, 2, 3, 4)],
        "done",
    ]


def test_followed_logs_end_with_the_job() -> None:
    daemon = FakeDaemon()
    row = daemon.add(JOBS["synthesize"], "queued")
    daemon.pending = list(good(row))
    code, out, _ = call(daemon, "logs", "-f", row.id)
    assert code == 0
    assert out.splitlines()[-1].endswith("  done")
