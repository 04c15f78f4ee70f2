from __future__ import annotations

import typing

from daemon.protocol.errors import Code, NegError
from negtui.commands.exits import exit_code_of
from negtui.commands.invocation import Unreachable


def test_every_error_has_a_documented_exit_code() -> None:
    codes = {code: exit_code_of(NegError(code, "x")) for code in typing.get_args(Code)}
    assert set(codes.values()) == {1, 2, 5}
    assert (codes["invalid"], codes["disk_full"], codes["gpu_oom"]) == (2, 5, 1)
    assert exit_code_of(Unreachable("x")) == 3
