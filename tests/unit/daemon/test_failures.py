import errno
import os
import sqlite3

import pytest

from daemon import failures


class OutOfMemoryError(RuntimeError):
    pass


class AcceleratorError(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("error", "oom", "cuda"),
    [
        (OutOfMemoryError("x"), True, False),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True, False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (AcceleratorError("x"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), False, True),
        (RuntimeError("sizes do not match"), False, False),
        (ValueError("CUDA error in a prompt"), False, False),
    ],
)
def test_errors_of_the_gpu_are_told_apart(error: Exception, oom: bool, cuda: bool) -> None:
    assert failures.is_gpu_oom(error) == oom
    assert (failures.is_cuda_error(error) and not failures.is_gpu_oom(error)) == cuda


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "m"), OSError(errno.EDQUOT, "m"), sqlite3.OperationalError("database or disk is full")],
)
def test_every_way_of_saying_disk_full(error: Exception) -> None:
    assert failures.explain(error).code == "disk_full"


@pytest.mark.parametrize(
    ("error", "code"),
    [(RuntimeError("CUDA error: device-side assert triggered"), "70"), (failures.ProcessUnfit("Another one is lost."), "71")],
)
def test_an_error_that_spoils_the_process_ends_it(monkeypatch: pytest.MonkeyPatch, error: Exception, code: str) -> None:
    class Ended(Exception):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(failures.logging, "shutdown", lambda: None)
    with pytest.raises(Ended, match=code):
        failures.explain(error)
