"""What went wrong in a recipe, in words. Free of torch: its errors are known by their names."""

from __future__ import annotations

import logging
import os

from daemon import files
from daemon.protocol.errors import ErrorDetail, NegError

EXIT_CUDA = 70
EXIT_UNFIT = 71
CUDA_SIGNS = (
    "cuda error",
    "cudnn error",
    "cublas_status",
    "cudnn_status",
    "cufft_",
    "nccl error",
    "device-side assert",
    "illegal memory access",
)
logger = logging.getLogger("daemon.worker")


class ProcessUnfit(Exception):
    """This process cannot go on with its job; another may, from what is on disk."""


def explain(error: Exception) -> ErrorDetail:
    """What failed, in words.

    Never returns for a CUDA error other than out of memory: it poisons the process, which ends with code 70; nor for `ProcessUnfit`: 71.
    """
    if isinstance(error, NegError):
        return error.detail
    if isinstance(error, ProcessUnfit):
        logger.critical("%s", error)
        logging.shutdown()
        os._exit(EXIT_UNFIT)
    logger.error("A recipe failed.", exc_info=error)
    first_line = next(iter(str(error).splitlines()), "")[:500]
    if files.is_disk_full(error):
        return NegError(
            "disk_full", f"No room left on the disk: {first_line}.", "Free some room; the job goes on by itself.", retryable=True
        ).detail
    if is_gpu_oom(error):
        return NegError("gpu_oom", f"The GPU's memory did not suffice: {first_line}", "Use a smaller picture, batch or rank.").detail
    if is_cuda_error(error):
        logger.critical("CUDA cannot be used any more in this process; ending it.")
        logging.shutdown()
        os._exit(EXIT_CUDA)
    message = f"{type(error).__name__}: {first_line}"
    return NegError("internal", message, "The log has the whole story; please report it.").detail


def is_gpu_oom(error: BaseException) -> bool:
    """By name, so that torch need not be imported: `torch.OutOfMemoryError` and what older code raises."""
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return named or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower())


def is_cuda_error(error: BaseException) -> bool:
    """An error after which nothing on that device can be trusted."""
    named = any(kind.__name__ == "AcceleratorError" for kind in type(error).__mro__)
    text = str(error).lower()
    return named or (isinstance(error, RuntimeError) and any(sign in text for sign in CUDA_SIGNS))
