import stat
from pathlib import Path

import pytest

from daemon.config import environment_number, make_private_directory, places, source_root
from daemon.protocol.errors import NegError


def test_places_follow_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEGTUI_STATE", raising=False)
    monkeypatch.delenv("NEGTUI_RUNTIME", raising=False)
    here = places(tmp_path)
    assert here.sessions_path == tmp_path / "sessions"
    assert here.database_path == tmp_path / ".negtui" / "neg.db"
    assert here.ctl_endpoint.startswith("ipc:///")
    assert places(tmp_path / "other").runtime_path != here.runtime_path


def test_environment_moves_state_and_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("NEGTUI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NEGTUI_RUNTIME", str(tmp_path / "run"))
    here = places()
    assert (here.workspace, here.state_path, here.lock_path) == (tmp_path, tmp_path / "state", tmp_path / "run" / "lock")


def test_a_socket_path_too_long_for_the_kernel_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGTUI_RUNTIME", "/tmp/" + "x" * 100)
    with pytest.raises(NegError, match="too long a name"):
        places(tmp_path)


def test_the_checkout_is_its_own_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEGTUI_WORKSPACE", raising=False)
    assert places().workspace == source_root()


def test_a_number_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEGTUI_X", raising=False)
    assert environment_number("NEGTUI_X", 2.5) == 2.5
    monkeypatch.setenv("NEGTUI_X", " 0.5 ")
    assert environment_number("NEGTUI_X", 2.5) == 0.5
    monkeypatch.setenv("NEGTUI_X", "")
    assert environment_number("NEGTUI_X", 2.5) == 2.5


@pytest.mark.parametrize("text", ["lots", "-1", "nan", "inf", "1,5"])
def test_what_is_no_number_is_said_by_its_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NEGTUI_X", text)
    with pytest.raises(NegError, match="NEGTUI_X is") as refused:
        environment_number("NEGTUI_X", 1)
    assert "from 0 on" in refused.value.detail.hint


def test_private_directory_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir(mode=0o755)
    assert stat.S_IMODE(make_private_directory(path).stat().st_mode) == 0o700
    assert stat.S_IMODE(make_private_directory(tmp_path / "new").stat().st_mode) == 0o700


def test_private_directory_refuses_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(NegError, match="not a directory of yours"):
        make_private_directory(tmp_path / "link")
