import builtins
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec
from daemon.training.monitoring.trackers import Trackers, require_trackers

BOTH = TrainingSpec(report_to=("tensorboard", "trackio"))
BOARD = msgspec.structs.replace(BOTH, report_to=("tensorboard",))


OFFLINE = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}


def test_a_package_that_is_absent_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    require_trackers(TrainingSpec())
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(NegError, match="report_to names tensorboard, which is not installed") as caught:
        require_trackers(BOARD)
    assert 'pip install "negtui[tensorboard]"' in caught.value.detail.hint


def test_event_files_are_read_by_tensorboard_itself(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, last in ((0, 6), (4, 8)):
        trackers = Trackers(BOARD, tmp_path, "s", "run", first, pytest.fail)
        for step in range(first + 1, last + 1):
            trackers.add(step, {"loss": step / 8, "leak": 0.5})
        trackers.close()
    curves = EventAccumulator(str(tmp_path / "tensorboard" / "run")).Reload()
    assert [(event.step, event.value) for event in curves.Scalars("loss")] == [(step, step / 8) for step in range(1, 9)]
    assert "tensorflow" not in sys.modules


def test_a_tracker_that_fails_is_told_of_once_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def add(self, step: int, values: object) -> None:
            raise OSError("no space")

        def close(self) -> None:
            raise AssertionError("it is left already")

    monkeypatch.setattr("daemon.training.monitoring.trackers._TensorBoard", lambda folder, step: Broken())
    warnings: list[str] = []
    trackers = Trackers(BOARD, tmp_path, "s", "run", 0, warnings.append)
    for step in (1, 2, 3):
        trackers.add(step, {"loss": 1.0})
    trackers.close()
    assert warnings == ["tensorboard failed (OSError: no space) and is left out from now on; metrics/ holds the curves."]


def test_trackio_is_told_where_to_write_before_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """trackio itself is too much to install for this: what is asked of it is recorded."""
    told: list[Any] = []

    def imported(name: str, *args: Any, **options: Any) -> Any:
        if name != "trackio":
            return real(name, *args, **options)
        told.append(("imported", __import__("os").environ["TRACKIO_DIR"]))
        run = SimpleNamespace(log=lambda values, step: told.append((step, values)), finish=lambda: told.append("finished"))
        return SimpleNamespace(init=lambda **options: told.append({**options, "config": None}) or run)

    real = builtins.__import__
    monkeypatch.setenv("TRACKIO_DIR", "/elsewhere")
    monkeypatch.setattr(builtins, "__import__", imported)
    trackers = Trackers(msgspec.structs.replace(BOTH, report_to=("trackio",)), tmp_path, "toy", "wrong-1f", 0, pytest.fail)
    trackers.add(3, {"loss": 0.5})
    trackers.close()
    assert told == [
        ("imported", str(tmp_path / "trackio")),
        {
            "project": "toy",
            "name": "wrong-1f",
            "config": None,
            "resume": "allow",
            "embed": False,
            "auto_log_gpu": False,
            "auto_log_cpu": False,
        },
        (3, {"loss": 0.5}),
        "finished",
    ]
