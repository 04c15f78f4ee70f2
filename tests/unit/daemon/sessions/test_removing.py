from pathlib import Path

import pytest

from daemon import config
from daemon.protocol.errors import NegError
from daemon.sessions.removing import hide, leftovers, remove, require_removable


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    mine = tmp_path / "sessions/mine"
    (mine / "dataset").mkdir(parents=True)
    (mine / "session.toml").write_text('[model]\nbase = "toy"\n')
    (mine / "dataset/a.png").write_bytes(b"x" * 100)
    return mine


@pytest.mark.parametrize(
    ("name", "typed", "code"),
    [
        ("mine", "mine ", "invalid"),
        ("mine", "", "invalid"),
        ("nosuch", "nosuch", "not_found"),
        ("..", "..", "invalid"),
        (".", ".", "invalid"),
    ],
)
def test_the_name_must_be_one_and_typed(mine: Path, name: str, typed: str, code: str) -> None:
    with pytest.raises(NegError) as refused:
        require_removable(mine.parent, name, typed)
    assert refused.value.detail.code == code


def test_what_ships_in_this_checkout_stays(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "source_root", lambda: mine.parent.parent)
    (mine.parent / "toy").mkdir()
    with pytest.raises(NegError, match="ships"):
        require_removable(mine.parent, "toy", "toy")
    require_removable(mine.parent, "mine", "mine")


def test_it_is_out_of_sight_at_once_and_then_gone(mine: Path) -> None:
    hidden = hide(mine.parent, "mine")
    assert not mine.exists()
    assert leftovers(mine.parent) == [hidden]
    assert remove(hidden) == 100 + len('[model]\nbase = "toy"\n')
    assert list(mine.parent.iterdir()) == []
    with pytest.raises(NegError) as refused:
        hide(mine.parent, "mine")
    assert refused.value.detail.code == "not_found"


def test_nothing_behind_a_link_is_removed(mine: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    (mine / "link").symlink_to(elsewhere)
    (mine.parent / "linked").symlink_to(elsewhere)
    for name in ("mine", "linked"):
        remove(hide(mine.parent, name))
    assert (elsewhere / "mine.txt").read_text() == "mine"
    assert list(mine.parent.iterdir()) == []
