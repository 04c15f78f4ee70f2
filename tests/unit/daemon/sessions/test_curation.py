from pathlib import Path

import pytest
from painting import request

from daemon.manifest import append_line, read_manifest, write_manifest
from daemon.protocol import codec
from daemon.protocol.commands import ListImages, MarkImages, RestoreMarks, WantedMark
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord
from daemon.sessions.curation import Curation


def record(id: str, **changes: object) -> ImageRecord:
    settings: dict[str, object] = {"id": id, "path": f"dataset/{id}.png", "sha256": "0", "request": request()}
    return ImageRecord(**settings | changes)


@pytest.fixture
def sessions_path(tmp_path: Path) -> Path:
    folder = tmp_path / "mine/dataset"
    folder.mkdir(parents=True)
    (tmp_path / "mine/session.toml").write_text('[model]\nbase = "toy"\n')
    write_manifest(folder / "manifest.jsonl", [record(id) for id in "abcde"])
    for id in "abcde":
        (folder / f"{id}.png").touch()
    return tmp_path


def test_pages_go_on_behind_a_picture_even_when_it_is_gone_by_then(sessions_path: Path) -> None:
    pictures = Curation(sessions_path)
    first = pictures.list(ListImages(session="mine", limit=2))
    assert ([one.id for one in first.images], first.total, first.is_last, first.unlisted) == (["a", "b"], 5, False, ())
    for id in "bc":
        (sessions_path / f"mine/dataset/{id}.png").unlink()
    (sessions_path / "mine/dataset/own.PNG").touch()
    second = pictures.list(ListImages(session="mine", limit=2, after="b"))
    assert ([one.id for one in second.images], second.total, second.is_last) == (["d", "e"], 3, True)
    assert second.unlisted == ("dataset/own.PNG",)
    with pytest.raises(NegError) as refused:
        pictures.list(ListImages(session="mine", after="x"))
    assert refused.value.detail.code == "not_found"


def test_a_page_fits_into_one_answer(sessions_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_REPLY_BYTES", 1)
    page = Curation(sessions_path).list(ListImages(session="mine"))
    assert ([one.id for one in page.images], page.is_last) == (["a"], False)


def test_no_pictures_yet_and_no_session(sessions_path: Path) -> None:
    pictures = Curation(sessions_path)
    empty = pictures.list(ListImages(session="mine", folder="class_images"))
    assert (empty.images, empty.total, empty.is_last) == ((), 0, True)
    for command in (
        MarkImages(session="mine", folder="class_images", ids=("a",), status="keep"),
        MarkImages(session="nosuch", ids=("a",), status="keep"),
    ):
        with pytest.raises(NegError) as refused:
            pictures.mark(command)
        assert refused.value.detail.code == "not_found"
    assert not (sessions_path / "mine/class_images").exists()
    assert not (sessions_path / "nosuch").exists()


def test_records_that_point_elsewhere_are_not_listed(sessions_path: Path) -> None:
    for path in ("dataset/../../x.png", "/etc/passwd", "cache/a.png"):
        append_line(sessions_path / "mine/dataset/manifest.jsonl", b'{"id":"z","path":"%s","sha256":"0","request":{}}' % path.encode())
    append_line(sessions_path / "mine/dataset/manifest.jsonl", b"\xff\n" + b"[" * 100_000)
    assert [one.id for one in Curation(sessions_path).list(ListImages(session="mine")).images] == list("abcde")


def test_tags_are_added_taken_away_and_restored(sessions_path: Path) -> None:
    pictures = Curation(sessions_path)
    marked = pictures.mark(MarkImages(session="mine", ids=("b", "a", "b"), status="reject", add_tags=("x", "w")))
    assert [(one.id, one.status, one.tags) for one in marked.marks] == [("b", "reject", ("w", "x")), ("a", "reject", ("w", "x"))]
    only_tags = pictures.mark(MarkImages(session="mine", ids=("a",), add_tags=("y",), remove_tags=("x", "nosuch")))
    assert [(one.status, one.tags) for one in only_tags.marks] == [("reject", ("w", "y"))]
    wanted = tuple(WantedMark(id=one.id, status=one.status, tags=one.tags) for one in marked.before)
    pictures.restore(RestoreMarks(session="mine", marks=wanted))
    assert read_manifest(sessions_path / "mine/dataset/manifest.jsonl") == [record(id) for id in "abcde"]


def test_too_many_tags_are_refused_before_anything_is_written(sessions_path: Path) -> None:
    pictures = Curation(sessions_path)
    pictures.mark(MarkImages(session="mine", ids=("b",), add_tags=tuple(f"t{number}" for number in range(32))))
    before = (sessions_path / "mine/dataset/manifest.jsonl").read_bytes()
    with pytest.raises(NegError, match="32 tags"):
        pictures.mark(MarkImages(session="mine", ids=("a", "b"), add_tags=("one-more",)))
    assert (sessions_path / "mine/dataset/manifest.jsonl").read_bytes() == before


def test_what_others_append_is_seen(sessions_path: Path) -> None:
    one, two = Curation(sessions_path), Curation(sessions_path)
    one.list(ListImages(session="mine"))
    two.mark(MarkImages(session="mine", ids=("a",), status="keep"))
    assert one.list(ListImages(session="mine")).images[0].status == "keep"
    assert [record.status for record in one.records("mine", "dataset")] == ["keep", *["undecided"] * 4]
