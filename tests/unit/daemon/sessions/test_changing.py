import hashlib
from pathlib import Path

import pytest

from daemon.protocol.errors import NegError
from daemon.sessions.changing import change, preview, write

TEXT = '# what this is\n[model]\nbase = "toy"  # the small one\n\n[training]\n# little\nrank = 4\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine/session.toml"
    path.write_text(TEXT)
    return path


def test_a_setting_is_changed_where_it_stands_and_comments_stay(path: Path) -> None:
    path.chmod(0o640)
    answer = change(path.parent.parent, "mine", {"training.rank": "8", "training.seed": "3"})
    assert answer.spec.training is not None
    assert (answer.spec.training.rank, answer.spec.training.seed) == (8, 3)
    assert path.read_text() == TEXT.replace("rank = 4\n", "rank = 8\nseed = 3\n")
    assert path.stat().st_mode & 0o777 == 0o640


def test_line_ends_of_other_systems_stay(path: Path) -> None:
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    change(path.parent.parent, "mine", {"training.rank": "8"})
    assert path.read_bytes() == TEXT.replace("rank = 4", "rank = 8").replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training.rank": "0"}, "training.rank is 0; allowed: a whole number from 1 to 1024"),
        ({"training.rnk": "8"}, "did you mean training.rank"),
        ({"training.rank": "8\nseed = 1"}, "more than one TOML value"),
        ({"training.rank": "eight"}, "not a TOML value"),
        ({"model.base": "none"}, "model.base cannot be none"),
    ],
)
def test_a_bad_change_is_refused_in_words_and_nothing_is_written(path: Path, changes: dict[str, str], words: str) -> None:
    before = path.stat()
    with pytest.raises(NegError) as refused:
        change(path.parent.parent, "mine", changes)
    assert words in str(refused.value)
    assert path.stat().st_ino == before.st_ino
    assert path.read_text() == TEXT


def test_a_wrong_setting_can_be_put_right(path: Path) -> None:
    path.write_text(TEXT.replace("rank = 4", "rank = 0"))
    change(path.parent.parent, "mine", {"training.rank": "8"})
    assert "rank = 8" in path.read_text()


def test_what_is_not_toml_is_said_with_its_line(path: Path) -> None:
    path.write_text(TEXT + "oops\n")
    with pytest.raises(NegError, match="line 8"):
        change(path.parent.parent, "mine", {"training.rank": "8"})


def test_a_link_is_not_replaced(path: Path, tmp_path: Path) -> None:
    elsewhere = path.rename(tmp_path / "elsewhere.toml")
    path.symlink_to(elsewhere)
    with pytest.raises(NegError, match="link"):
        change(tmp_path, "mine", {"training.rank": "8"})
    assert elsewhere.read_text() == TEXT


def test_a_text_is_written_over_the_one_that_was_read_only(path: Path) -> None:
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    other = TEXT.replace("rank = 4", "rank = 16")
    assert write(path.parent.parent, "mine", other, sha256).spec.training is not None
    with pytest.raises(NegError) as refused:
        write(path.parent.parent, "mine", TEXT, sha256)
    assert refused.value.detail.code == "conflict"
    with pytest.raises(NegError, match="line 2"):
        write(path.parent.parent, "mine", "\nx", hashlib.sha256(other.encode()).hexdigest())
    assert path.read_text() == other


def test_a_preview_writes_nothing(path: Path) -> None:
    spec = preview(path.parent.parent, "mine", {"training.rank": "32"})
    assert spec.training is not None
    assert spec.training.rank == 32
    assert path.read_text() == TEXT
