from __future__ import annotations

import msgspec

from daemon.protocol.events import Gauges, JobRow, StepProgress
from negtui.view import Connection, View
from negtui.widgets.status_bar import connection_words, fit, job_words, memory_words, status_words
from tests.fake_daemon import JOBS

CONNECTED = Connection("connected", 100.0, version="0.1", protocol=1)
JOB = JobRow(id="a", key="k" * 8, spec=JOBS["train"], state="running", created=1.0)


def test_it_tells_what_runs_how_fast_and_how_long_yet() -> None:
    progress = StepProgress(job_id="a", phase="train", step=3, num_steps=10, steps_per_second=2.0, eta_seconds=90.0)
    view = View(connection=CONNECTED, jobs={"a": JOB}, progress={"a": progress})
    view.gauges["gpu"] = [Gauges(device="gpu", memory_used=3 * 2**30, memory_total=8 * 2**30)]
    words = status_words(view, 400.0, "pictures kitty 12 kB", True)
    assert words[0] == "connected 5 min"
    assert words[1] == "read only"
    assert words[2] == "train toy 3/10 2.0 it/s 1 min 30 s left"
    assert words[3:] == ("3.0 of 8 GiB", "pictures kitty 12 kB", "daemon 0.1, protocol 1")


def test_a_lost_daemon_is_told_by_the_second_with_what_to_do() -> None:
    view = View(connection=Connection("lost", 100.0, reason="The connection \x1b[2Jwas lost."))
    assert status_words(view, 103.2, "", False, "f5 starts it")[:2] == ("NO CONNECTION for 3 s: The connection was lost.", "f5 starts it")
    assert "2 min 05 s" in connection_words(view, 225.0)


def test_an_idle_line_hardly_ever_changes() -> None:
    view = View(connection=CONNECTED)
    assert len({status_words(view, 100.0 + second, "", False) for second in range(60)}) == 1
    assert len({status_words(view, 100.0 + second, "", False) for second in range(3600)}) == 60
    assert connection_words(view, 100.0 + 7200) == "connected 2 h"


def test_without_a_driver_a_job_may_tell_its_memory() -> None:
    view = View(gauges={"none": [Gauges(device="none")]})
    assert memory_words(view) == ""
    view.progress["a"] = StepProgress(job_id="a", phase="train", step=1, num_steps=2, memory_bytes=2**30)
    assert memory_words(view) == "1.0 GiB"


def test_pictures_and_other_phases_are_told_in_short() -> None:
    painting = StepProgress(job_id="a", phase="sample", step=2, num_steps=25, image_index=2, num_images=36, eta_seconds=12.0)
    assert job_words(JOB, painting) == "train toy sample image 3/36 12 s left"
    assert job_words(JOB, None) == "train toy: running"


def test_as_many_whole_parts_as_fit() -> None:
    assert fit(("connected", "a long word that does not fit", "short"), 24).plain == " connected | short"
    waiting = View(connection=CONNECTED, jobs={"a": msgspec.structs.replace(JOB, state="queued")})
    assert "1 queued" in status_words(waiting, 100.0, "", False)
