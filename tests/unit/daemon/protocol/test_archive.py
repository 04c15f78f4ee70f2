"""The manifest of a packed session takes only what can be one."""

import msgspec
import pytest

from daemon.protocol.archive import ArchivedFile, ArchiveManifest

FILE = ArchivedFile(path="session.toml", size=3, sha256="ab" * 32)
MANIFEST = ArchiveManifest(archive_version=1, session="mine", files=(FILE,))


def test_it_is_read_back() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MANIFEST), type=ArchiveManifest) == MANIFEST


@pytest.mark.parametrize(
    "change", [{"session": "../x"}, {"archive_version": 0}, {"files": [{"path": "", "size": 1, "sha256": "ab" * 32}]}, {"files": None}]
)
def test_what_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(MANIFEST) | change, ArchiveManifest)
