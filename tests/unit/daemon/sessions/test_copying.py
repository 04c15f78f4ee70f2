import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.protocol.commands import ListFiles
from daemon.protocol.errors import NegError
from daemon.sessions.copying import duplicate, list_files

TEXT = '[model]\nbase = "toy"\n'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "session.toml").write_text(TEXT)
    return mine


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def test_all_goes_along_but_caches_checkpoints_and_what_is_half_written(mine: Path) -> None:
    for name in ("dataset/a.png", "dataset/cache/b.png", "cache/x", "checkpoints/y/z", "samples/.tmp-1", "README.md"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(os.urandom(40_000))
    os.mkfifo(mine / "dataset/fifo")
    answer = duplicate(mine.parent, "mine", "other")
    other = Path(answer.path)
    assert files_below(other) == ["README.md", "dataset/a.png", "dataset/cache/b.png", "session.toml"]
    for name in files_below(other):
        assert (other / name).read_bytes() == (mine / name).read_bytes()
        assert not (other / name).samefile(mine / name)
    assert [path.name for path in mine.parent.iterdir() if path.name.startswith(".")] == []


def test_links_stay_links_and_nothing_is_written_through_them(mine: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.png").write_bytes(b"a")
    (mine / "session.toml").rename(elsewhere / "session.toml")
    (mine / "session.toml").symlink_to(elsewhere / "session.toml")
    (mine / "a.png").symlink_to(elsewhere / "a.png")
    duplicate(tmp_path, "mine", "other")
    assert (tmp_path / "other/a.png").readlink() == elsewhere / "a.png"
    assert not (tmp_path / "other/session.toml").is_symlink()
    assert (elsewhere / "session.toml").read_text() == TEXT


def test_settings_only_takes_the_prompts_too(mine: Path) -> None:
    (mine / "session.toml").write_text(f'{TEXT}[comparison]\nprompts_file = "prompts.txt"\n')
    (mine / "prompts.txt").write_text("a star\n")
    (mine / "dataset").mkdir()
    (mine / "dataset/a.png").write_bytes(b"a")
    duplicate(mine.parent, "mine", "other", settings_only=True)
    assert files_below(mine.parent / "other") == ["prompts.txt", "session.toml"]


def test_what_a_job_takes_away_meanwhile_does_not_stop_a_copy_or_a_list(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "gone.png"):
        (mine / name).write_bytes(b"a picture")
    walk = os.walk

    def walk_and_lose(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        yield from [(folder, folders, [*names, "gone.png"]) for folder, folders, names in walk(top)]

    (mine / "gone.png").unlink()
    monkeypatch.setattr(os, "walk", walk_and_lose)
    duplicate(mine.parent, "mine", "other")
    monkeypatch.undo()
    assert files_below(mine.parent / "other") == ["a.png", "session.toml"]
    monkeypatch.setattr(os, "walk", walk_and_lose)
    assert [row.path for row in list_files(mine.parent, ListFiles(name="mine")).files] == ["a.png", "session.toml"]


@pytest.mark.parametrize(("new_name", "code"), [("mine", "conflict"), ("there", "conflict"), ("../x", "invalid"), ("", "invalid")])
def test_a_bad_name_is_refused_and_leaves_nothing(mine: Path, new_name: str, code: str) -> None:
    (mine.parent / "there").symlink_to("nowhere")
    before = sorted(mine.parent.iterdir())
    with pytest.raises(NegError) as refused:
        duplicate(mine.parent, "mine", new_name)
    assert refused.value.detail.code == code
    assert sorted(mine.parent.iterdir()) == before
