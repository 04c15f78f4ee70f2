import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.config import places
from daemon.front import serve
from daemon.jobs.scheduler import Scheduler


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "r"))


def test_the_endpoints_of_a_daemon_that_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["endpoints", "--json", "--workspace", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ctl"] == str(tmp_path / "r" / "ctl")
    assert told["is_running"] is False
    assert told["sessions_path"] == str(places(tmp_path).sessions_path)
    assert serve.main(["endpoints", "--workspace", str(tmp_path)]) == 0
    assert f"ctl: {tmp_path}/r/ctl" in capsys.readouterr().out


def test_wrong_arguments_and_wrong_settings_have_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main(["explode"]) == 64
    assert serve.main(["--version"]) == 0
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / ("x" * 120)))
    assert serve.main(["run", "--workspace", str(tmp_path)]) == 78
    assert "NEGTUI_RUNTIME" in capsys.readouterr().err


def test_a_socket_folder_that_is_not_ours_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "r").symlink_to(tmp_path / "elsewhere")
    assert serve.main(["run", "--workspace", str(tmp_path)]) == 78
    assert "not a directory of yours" in capsys.readouterr().err


def test_the_workers_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    serve.keep_small(path)
    path.write_bytes(b"x" * 100)
    serve.keep_small(path)
    assert path.exists()
    path.write_bytes(b"x" * (serve.MAX_LOG_BYTES + 1))
    serve.keep_small(path)
    assert not path.exists()
    assert (tmp_path / "worker.log.1").exists()


def test_the_front_starts_without_torch_and_numpy() -> None:
    code = "import sys, daemon.front.serve; print(sorted({n.split('.')[0] for n in sys.modules} & {'torch', 'diffusers', 'numpy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("variable", ["NEGTUI_BALLAST_MIB", "NEGTUI_MIN_FREE_MIB", "NEGTUI_LONGEST_RESTART_SECONDS"])
def test_a_setting_that_is_no_number_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv("NEGTUI_BALLAST_MIB", "0")
    monkeypatch.setenv(variable, "lots")
    assert serve.main(["run", "--foreground", "--workspace", str(tmp_path)]) == serve.EXIT_SETTINGS
    assert f"{variable} is 'lots'" in capsys.readouterr().err


def test_a_workspace_that_cannot_be_made_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    assert serve.main(["run", "--foreground", "--workspace", str(tmp_path / "file" / "below")]) == serve.EXIT_SETTINGS
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told
    assert "Traceback" not in told


def test_a_scheduler_that_fails_ends_the_daemon_instead_of_running_nothing_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Scheduler):
        async def start(self) -> None:
            asyncio.get_running_loop().call_soon(self._on_failure, RuntimeError("no queue"))

        async def close(self, drain_seconds: float = 0.0) -> None:
            pass

    monkeypatch.setattr(serve, "Scheduler", Failing)
    monkeypatch.setenv("NEGTUI_BALLAST_MIB", "0")
    with pytest.raises(RuntimeError, match="no queue"):
        serve.main(["run", "--foreground", "--workspace", str(tmp_path)])
