from pathlib import Path

import pytest

from daemon.protocol.errors import NegError
from daemon.store import disk
from daemon.store.disk import Ballast, file_system, require_local_disk

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /net rw - nfs4 server:/home rw
31 22 0:31 / /net/my\040disk rw - xfs /dev/vdb rw
32 22 0:32 / /far rw - fuse.sshfs me@host: rw
33 22 0:33 / /over rw - fuse.fuse-overlayfs none rw
34 22 0:34 / /netting rw - tmpfs none rw
not a mount
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "ext4"),
        ("/net/me/state", "nfs4"),
        ("/net/my disk/state", "xfs"),
        ("/netting/state", "tmpfs"),
        ("/nettings", "ext4"),
        ("/far/state", "fuse.sshfs"),
    ],
)
def test_the_longest_mount_point_decides(mounts: Path, folder: str, kind: str) -> None:
    assert file_system(Path(folder), mounts) == kind


@pytest.mark.parametrize("folder", ["/net/state", "/far/state"])
def test_network_disks_are_refused_in_words(mounts: Path, folder: str) -> None:
    with pytest.raises(NegError, match=r"network or user-space.*NEGTUI_STATE") as refusal:
        require_local_disk(Path(folder), mounts)
    assert refusal.value.detail.code == "invalid"


@pytest.mark.parametrize("folder", ["/home/me", "/over/me", "/net/my disk"])
def test_local_disks_are_taken(mounts: Path, folder: str) -> None:
    require_local_disk(Path(folder), mounts)


def test_an_unknown_system_is_taken(tmp_path: Path) -> None:
    require_local_disk(tmp_path, tmp_path / "absent")


def test_ballast_takes_room_gives_it_up_and_takes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(tmp_path / "ballast", 4096)
    assert not ballast.release()
    ballast.restore()
    assert ballast.path.stat().st_size == 4096
    assert ballast.release()
    ballast.restore()
    assert not ballast.path.exists(), "not at once: the disk was full a moment ago"
    monkeypatch.setattr(disk, "RESTORE_SECONDS", 0.0)
    ballast.restore()
    assert ballast.path.exists()


def test_ballast_is_not_made_on_a_nearly_full_disk(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 2**60)
    ballast.restore()
    assert not ballast.path.exists()
