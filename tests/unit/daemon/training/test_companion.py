"""A companion's words. That it takes the same steps is shown by `tests/trips/test_processes.py`."""

from pathlib import Path

import msgspec
import pytest
import torch
from tiny_sdxl import make_job, make_session

from daemon.protocol.errors import ErrorDetail, NegError
from daemon.training import companion
from daemon.training.accelerated import PeerLost
from daemon.training.companions import Part, Told, part_path, told_path
from daemon.training.trainer import NotFinite


def told(folder: Path) -> ErrorDetail | None:
    path = told_path(folder, 1)
    return msgspec.json.decode(path.read_bytes(), type=Told).error if path.is_file() else None


def end_by(error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, ErrorDetail | None]:
    def fail(folder: Path, rank: int) -> None:
        raise error

    monkeypatch.setattr(companion, "take_part", fail)
    return companion.main([str(folder), "1"]), told(folder)


def test_out_of_memory_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, error = end_by(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), tmp_path, monkeypatch)
    assert code == 1
    assert error is not None
    assert (error.code, error.message) == ("gpu_oom", "Training does not fit the device: CUDA out of memory.")


def test_what_is_said_in_words_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert end_by(NegError("corrupt", "It is torn.", "Mend it."), tmp_path, monkeypatch) == (
        1,
        ErrorDetail(code="corrupt", message="It is torn.", hint="Mend it."),
    )


@pytest.mark.parametrize(("error", "code"), [(PeerLost("reset"), 0), (NotFinite("the loss", float("nan")), 0), (ValueError("what"), 1)])
def test_the_rest_is_left_to_the_first_process_and_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    assert end_by(error, tmp_path, monkeypatch) == (code, None)


def test_other_images_than_the_first_process_read_are_a_conflict(tmp_path: Path) -> None:
    path = make_session(tmp_path / "s")
    part = Part(job=make_job(), session_path=str(path), cache_path=str(tmp_path / "cache"), fingerprint="f" * 64, step=0)
    part_path(tmp_path).write_bytes(msgspec.json.encode(part))
    with pytest.raises(NegError, match="The images or the model changed"):
        companion.take_part(tmp_path, 1)
    assert told(tmp_path) is None
