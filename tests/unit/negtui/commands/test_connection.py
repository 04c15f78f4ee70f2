from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from negtui.client import Endpoints
from negtui.commands.connection import _endpoint, new_key, open_daemon
from negtui.commands.invocation import Unreachable
from negtui.config import Settings


def test_keys_are_ulids_in_the_order_of_time() -> None:
    keys = [new_key() for _ in range(50)]
    assert len(set(keys)) == 50
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", key) for key in keys)
    assert [key[:10] for key in keys] == sorted(key[:10] for key in keys)


def test_nothing_is_started_where_only_a_running_daemon_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "run"))
    with pytest.raises(Unreachable, match="No daemon runs"):
        asyncio.run(open_daemon(Settings(workspace=str(tmp_path)), False, lambda text: None))
    assert list(tmp_path.iterdir()) == []


def test_the_blob_socket_lies_beside_the_other() -> None:
    assert _endpoint("ipc:///run/neg/ctl") == Endpoints("ipc:///run/neg/ctl", "ipc:///run/neg/blob")
    assert _endpoint("ssh://host") == "ssh://host"


@pytest.mark.parametrize("connect", ["tcp://host:1", "host", "ipc://relative/ctl"])
def test_other_endpoints_are_refused_in_words(connect: str) -> None:
    with pytest.raises(Exception, match="is not an endpoint"):
        asyncio.run(open_daemon(Settings(connect=connect), True, lambda text: None))
