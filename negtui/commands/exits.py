"""Exit codes, as `negtui --help` documents them."""

from __future__ import annotations

from daemon.protocol.errors import NegError
from negtui.commands.invocation import Unreachable

OK = 0
FAILED = 1
INVALID = 2
UNREACHABLE = 3
INTERRUPTED = 4
BLOCKED = 5


def exit_code_of(error: NegError) -> int:
    """The exit code of an error that ended a command."""
    if isinstance(error, Unreachable):
        return UNREACHABLE
    code = error.detail.code
    if code in ("invalid", "not_found", "conflict", "wrong_state", "too_large", "unknown_type", "incompatible", "bad_version"):
        return INVALID
    return BLOCKED if code in ("disk_full", "busy", "rate_limited") else FAILED
