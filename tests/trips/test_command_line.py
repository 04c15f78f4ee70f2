"""The command line against a real daemon and worker: pipes, joining, ctrl+c, a daemon that dies and comes back."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from daemon.config import Places
from tests.fake_recipes import computed, job

SECONDS = 60


def negtui(places: Places, *argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "negtui.cli", "--workspace", str(places.workspace), *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def declare(front: Any, **settings: Any) -> Path:
    """The session `fake` asks for what the fake recipe is to do."""
    folder: Path = front.places.sessions_path / "fake"
    synthesis = job(**settings).synthesis
    text = f'[model]\nbase = "toy"\n[synthesis]\nkeywords = ["fake"]\nnegative_prompt = {json.dumps(synthesis.negative_prompt)}\n'
    (folder / "session.toml").write_text(text)
    return folder


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_run_ends_with_what_it_made_and_a_second_one_computes_nothing(front: Any) -> None:
    folder = declare(front)
    code, out, _ = ended(negtui(front.places, "run", "fake"))
    assert code == 0
    assert "3 made, 0 reused" in out
    assert "\x1b" not in out
    code, out, _ = ended(negtui(front.places, "run", "fake"))
    assert code == 0
    assert "Nothing had to be computed" in out
    assert len(computed(folder)) == 3


def test_a_second_run_joins_the_first(front: Any) -> None:
    folder = declare(front, step_seconds=0.2)
    first = negtui(front.places, "run", "fake")
    first_line(first)
    code, _, _ = ended(negtui(front.places, "run", "fake", "--json"))
    assert code == 0
    assert ended(first)[0] == 0
    _, out, _ = ended(negtui(front.places, "jobs", "--json"))
    assert [row["state"] for row in json.loads(out)["jobs"]] == ["done"]
    assert len(computed(folder)) == 3


def test_ctrl_c_leaves_the_job_running(front: Any) -> None:
    folder = declare(front, step_seconds=0.2)
    process = negtui(front.places, "run", "fake")
    first_line(process)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 4
    assert "Traceback" not in err
    follow = err.split("negtui follow ")[1].split()[0]
    assert ended(negtui(front.places, "follow", follow))[0] == 0
    assert len(computed(folder)) == 3


def test_a_follower_outlives_its_daemon(front: Any) -> None:
    folder = declare(front, step_seconds=0.2)
    process = negtui(front.places, "run", "fake")
    first_line(process)
    front.kill()
    time.sleep(0.3)
    front.start()
    code, out, err = ended(process)
    assert code == 0, (out, err)
    assert "The daemon is back." in err
    assert len(set(computed(folder))) == len(computed(folder)) == 3


def test_a_failed_job_is_1_and_its_words_are_told(front: Any) -> None:
    declare(front, raises="neg")
    code, _, err = ended(negtui(front.places, "run", "fake"))
    assert code == 1
    assert "The fake model does not fit. Take another." in err


def test_a_bad_session_is_2_with_file_and_line(front: Any) -> None:
    folder = declare(front)
    (folder / "session.toml").write_text('[model]\nbase = "toy"\n[training]\nrank = 0\n')
    code, _, err = ended(negtui(front.places, "run", "fake"))
    assert code == 2
    assert "sessions/fake/session.toml, line 4: training.rank is 0; allowed: a whole number from 1 to 1024." in err


def test_the_daemon_is_stopped_and_nothing_else_starts_it(front: Any) -> None:
    code, out, _ = ended(negtui(front.places, "daemon", "stop"))
    assert (code, "has stopped" in out) == (0, True)
    assert front.process.wait(timeout=SECONDS) == 0
    assert ended(negtui(front.places, "status"))[0] == 3
