"""The curves as TensorBoard and trackio read them, below `metrics/`: copies for people who look there. Both packages are extras.

What counts is the metrics file: a tracker that fails is told of and left, the training goes on. Knows nothing of how anything is measured.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from daemon.protocol.errors import NegError
from daemon.protocol.training_spec import TrainingSpec


class Tracker(Protocol):
    """One tool's log of one run."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Readings of a step by name."""

    def close(self) -> None:
        """Nothing more will come: everything reaches the disk."""


def require_trackers(spec: TrainingSpec) -> None:
    """Raise `NegError` `invalid` where `report_to` names a package that is not installed."""
    for name in spec.report_to:
        if (name in sys.modules and sys.modules[name] is None) or importlib.util.find_spec(name) is None:
            raise NegError(
                "invalid",
                f"training.report_to names {name}, which is not installed.",
                f'Install it: pip install "negtui[{name}]"; or leave it out: metrics/ holds the curves in any case.',
            )


class Trackers:
    """All trackers of a run, behind one `add`."""

    def __init__(self, spec: TrainingSpec, folder: Path, session: str, run: str, step: int, warn: Callable[[str], None]) -> None:
        """Logs go to `folder/tensorboard/<run>/` and `folder/trackio/`; a run gone on with at `step` takes up its own."""
        makers: dict[str, Callable[[], Tracker]] = {
            "tensorboard": lambda: _TensorBoard(folder / "tensorboard" / run, step),
            "trackio": lambda: _Trackio(folder / "trackio", session, run, msgspec.to_builtins(spec)),
        }
        self._warn = warn
        self._trackers: dict[str, Tracker] = {}
        for name in spec.report_to:
            made = self._trying(name, makers[name])
            if made is not None:
                self._trackers[name] = made

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, tracker in list(self._trackers.items()):
            self._trying(name, lambda one=tracker: one.add(step, values))  # type: ignore[misc]

    def close(self) -> None:
        for name, tracker in list(self._trackers.items()):
            self._trying(name, tracker.close)

    def _trying(self, name: str, action: Callable[[], Any]) -> Any:
        # Foreign code that writes a copy: whatever it raises must not end a training of hours.
        try:
            return action()
        except Exception as error:
            self._trackers.pop(name, None)
            self._warn(f"{name} failed ({type(error).__name__}: {error}) and is left out from now on; metrics/ holds the curves.")
            return None


class _TensorBoard:
    """Event files, by torch's writer: it needs the package `tensorboard`, not TensorFlow."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an interrupted run wrote after the step it goes on from is hidden.
        self._writer: Any = SummaryWriter(log_dir=str(folder), purge_step=step + 1 if step else None)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    """A run in trackio's local database; the project is the session. A step that is told twice has the same values."""

    def __init__(self, folder: Path, session: str, run: str, config: dict[str, Any]) -> None:
        trackio: Any = _trackio_of(folder)
        self._run: Any = trackio.init(
            project=session, name=run, config=config, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def _trackio_of(folder: Path) -> Any:
    """trackio, writing below `folder`. It reads where that is once, when it is imported: for another session it is imported anew."""
    if os.environ.get("TRACKIO_DIR") != str(folder):
        os.environ["TRACKIO_DIR"] = str(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
            del sys.modules[name]
    import trackio

    return trackio
