from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from daemon.protocol.commands import ReadSession, Resume
from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import State
from daemon.protocol.specs import job_specs
from tests.fake_daemon import JOBS, SPEC, FakeDaemon, call, good, moved


def test_run_submits_the_three_acts_one_after_the_other_and_tells_all_that_came_of_it() -> None:
    daemon = FakeDaemon(good)
    code, out, err = call(daemon, "run", "toy")
    assert (code, err) == (0, "")
    assert daemon.submitted == [(JOBS["synthesize"], ()), (JOBS["train"], ("job1",)), (JOBS["compare"], ("job2",))]
    for words in (
        "synthesise toy: 50 % (2 of 4 images)",
        "train toy: 100 % (train: step 4 of 4)",
        "synthesise 1 min 00 s paint 58.0 s, load 1.5 s",
        "together 3 min 00 s",
        "synthesise 4 made, 0 reused; compare 4 made, 0 reused",
        "/w/sessions/toy/adapters/wrong/w.safetensors (1.0 MiB)",
        "sha256 " + "ab" * 32,
        "over 32 blocks",
        "target - baseline 0.135 0.191 -0.056 [-0.079, -0.034] better",
        "Verdict The target beats the baseline.",
        "/w/sessions/toy/comparisons/default/sheet.png",
        "/w/sessions/toy/comparisons/default/report.html",
    ):
        assert words in " ".join(out.split()), words
    assert "Nothing had to be computed" not in out
    assert daemon.is_closed


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1), ("cancelled", 4), ("paused", 4), ("blocked", 5)])
def test_the_end_of_a_job_is_the_exit_code(state: State, code: int) -> None:
    error = ErrorDetail(code="gpu_oom", message="The GPU is full.", hint="Use less.") if state == "failed" else None
    daemon = FakeDaemon(lambda row: [moved(row, "running", started=1.0), moved(row, state, finished=2.0, error=error)])
    found, out, err = call(daemon, "train", "toy")
    assert found == code
    assert f"train toy: {state}" in out
    assert (state == "failed") == ("The GPU is full. Use less." in err)
    assert (state == "done") == (err == "")


def test_acts_behind_a_failed_one_are_not_waited_for() -> None:
    daemon = FakeDaemon(lambda row: [moved(row, "failed")] if row.id == "job1" else [])
    code, _, err = call(daemon, "run", "toy")
    assert code == 1
    assert "negtui resume job1" in err


def test_detach_submits_prints_the_ids_and_leaves() -> None:
    daemon = FakeDaemon()
    code, out, _ = call(daemon, "run", "toy", "--detach")
    assert code == 0
    assert len(daemon.submitted) == 3
    assert "To follow: negtui follow job1 job2 job3" in out
    code, out, _ = call(FakeDaemon(), "--detach", "--json", "synthesize", "toy")
    assert json.loads(out) == {"jobs": ["job1"]}


def test_full_compares_on_all_prompts() -> None:
    daemon = FakeDaemon()
    call(daemon, "compare", "toy", "--full", "--detach")
    assert daemon.submitted == [(job_specs("toy", SPEC, full=True)["compare"], ())]


def test_a_preset_compares_by_other_arms_under_its_own_name() -> None:
    daemon = FakeDaemon()
    call(daemon, "compare", "toy", "--preset", "branches", "--full", "--detach")
    assert daemon.submitted == [(job_specs("toy", SPEC, full=True, preset="branches")["compare"], ())]
    code, _, err = call(daemon, "compare", "toy", "--preset", "subject", "--detach")
    assert code == 2
    assert "needs a second adapter" in err
    assert len(daemon.submitted) == 1


def test_a_run_under_way_is_joined() -> None:
    daemon = FakeDaemon()
    daemon.add(JOBS["synthesize"], "done", finished=2.0, started=1.0)
    daemon.add(JOBS["train"], "running", after=("job1",), started=1.0)
    daemon.add(JOBS["compare"], "queued", after=("job2",))
    daemon.pending = [*good(daemon.jobs[1])[1:], *good(daemon.jobs[2])]
    code, _, _ = call(daemon, "run", "toy")
    assert code == 0
    assert daemon.submitted == []


def test_a_run_that_failed_midway_is_resumed_with_what_waits_for_it() -> None:
    daemon = FakeDaemon(good)
    daemon.add(JOBS["synthesize"], "failed")
    daemon.add(JOBS["train"], "blocked", after=("job1",))
    daemon.add(JOBS["compare"], "blocked", after=("job2",))
    code, _, _ = call(daemon, "run", "toy")
    assert code == 0
    assert daemon.submitted == []
    assert [command.job_id for command in daemon.asked if isinstance(command, Resume)] == ["job1", "job2", "job3"]


def test_an_ended_run_or_one_of_other_settings_is_not_joined() -> None:
    daemon = FakeDaemon(good)
    other = msgspec.structs.replace(SPEC, training=msgspec.structs.replace(SPEC.training, rank=8))
    for spec, state in (
        (JOBS["synthesize"], "done"),
        (job_specs("toy", other)["train"], "running"),
        (job_specs("b", SPEC)["train"], "running"),
    ):
        daemon.add(spec, state)
    call(daemon, "run", "toy")
    assert [spec for spec, _ in daemon.submitted] == list(JOBS.values())


def test_warnings_of_a_session_are_said_before_it_runs() -> None:
    daemon = FakeDaemon(good)
    daemon.warnings = ("No refiner.",)
    _, _, err = call(daemon, "run", "toy")
    assert err == "warning: No refiner.\n"
    assert daemon.asked[0] == ReadSession(name="toy")


def test_an_act_that_the_session_lacks_is_refused() -> None:
    daemon = FakeDaemon()
    daemon.spec = msgspec.structs.replace(SPEC, training=None)
    code, _, err = call(daemon, "train", "toy")
    assert code == 2
    assert "has no [training]" in err


def test_train_on_a_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("photos", "./photos", str(tmp_path / "photos"), "~/photos"):
        daemon = FakeDaemon()
        assert call(daemon, "train", "toy", "--images", named, "--detach")[0] == 0
        training = msgspec.structs.replace(SPEC.training, instance_data_dir=str(tmp_path / "photos"))
        assert daemon.submitted == [(msgspec.structs.replace(JOBS["train"], training=training), ())]


def test_a_folder_of_images_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for named in (tmp_path / "none", tmp_path / "file", "~nobody-at-all/photos"):
        daemon = FakeDaemon()
        code, _, err = call(daemon, "train", "toy", "--images", str(named))
        assert (code, daemon.submitted) == (2, [])
        assert "There is no folder /" in err
        assert str(named) in err


def test_a_folder_on_another_host_is_named_as_it_is_there(tmp_path: Path) -> None:
    daemon = FakeDaemon()
    call(daemon, "--connect", "ssh://host", "train", "toy", "--images", "/data/photos", "--detach")
    assert daemon.submitted[0][0].training.instance_data_dir == "/data/photos"
    code, _, err = call(FakeDaemon(), "--connect", "ssh://host", "train", "toy", "--images", "photos")
    assert code == 2
    assert "not absolute" in err
