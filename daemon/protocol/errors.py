"""What can go wrong, as a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Literal

import msgspec

Code = Literal[
    "bad_frame",
    "bad_version",
    "unknown_type",
    "invalid",
    "too_large",
    "rate_limited",
    "busy",
    "not_found",
    "conflict",
    "wrong_state",
    "disk_full",
    "gpu_oom",
    "gpu_sick",
    "worker_lost",
    "corrupt",
    "incompatible",
    "internal",
]


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An error on the wire: what happened, and what to do about it."""

    code: Code
    message: str
    hint: str = ""
    retryable: bool = False


class NegError(Exception):
    """An error meant for the person at the keyboard: `code`, what happened (`message`), what to do (`hint`)."""

    def __init__(self, code: Code, message: str, hint: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.detail = ErrorDetail(code=code, message=message, hint=hint, retryable=retryable)

    def __str__(self) -> str:
        return f"{self.detail.message} {self.detail.hint}".strip()

    @classmethod
    def from_detail(cls, detail: ErrorDetail) -> NegError:
        """The exception for an error that came over the wire."""
        return cls(detail.code, detail.message, detail.hint, retryable=detail.retryable)
