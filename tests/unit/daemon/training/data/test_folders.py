from __future__ import annotations

import os
from pathlib import Path

import pytest
from image_files import as_bytes, fill, manifest_line, picture

from daemon.protocol.errors import NegError
from daemon.training.data import decoding, folders
from daemon.training.data.folders import FolderImages, KnownSizes, read_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = fill(tmp_path / "f")
    picture(0).save(path / "a.png")
    picture(1, 20, 16).save(path / "b.png")
    return path


def read(folder: Path, **options: object) -> FolderImages:
    known = KnownSizes(folder.parent / "known.json")
    found = read_folder(folder, known, **options)  # type: ignore[arg-type]
    known.save()
    return found


def names(found: FolderImages) -> set[str]:
    return {image.path.name for image in found.images}


def test_rejected_images_are_left_out_and_others_count(folder: Path) -> None:
    picture(2).save(folder / "dropped.JPG", "JPEG")
    (folder / "notes.txt").write_text("not an image, so not spoken of")
    (folder / ".hidden.png").write_text("hidden")
    lines = [manifest_line("a"), manifest_line("b", "keep"), manifest_line("b", "reject")]
    (folder / "manifest.jsonl").write_bytes(b"".join(lines))
    found = read(folder)
    assert (names(found), found.num_rejected, found.refused) == ({"a.png", "dropped.JPG"}, 1, ())
    (folder / "manifest.jsonl").write_bytes(b"".join([*lines, manifest_line("b", "keep"), b'{"id":"a","path":"dataset/a.png","sta']))
    assert names(read(folder)) == {"a.png", "b.png", "dropped.JPG"}


def test_only_wanted_records_are_read(folder: Path) -> None:
    (folder / "manifest.jsonl").write_bytes(manifest_line("a", prompt="this"))
    assert names(read(folder, wanted=lambda record: record is None)) == {"b.png"}
    assert names(read(folder, wanted=lambda record: record is not None and record.request.prompt == "this")) == {"a.png"}


def test_names_and_dates_change_nothing(folder: Path) -> None:
    before = read(folder)
    (folder / "a.png").rename(folder / "z.png")
    os.utime(folder / "b.png", (1, 1))
    after = read(folder)
    assert [image.sha256 for image in after.images] == [image.sha256 for image in before.images] == sorted(i.sha256 for i in after.images)


def test_images_know_their_upright_size_and_caption(folder: Path) -> None:
    (folder / "a.txt").write_text("a cat")
    found = {image.path.name: image for image in read(folder, captions="txt", prompt="wrong").images}
    assert (found["a.png"].original_size, found["a.png"].caption) == ((16, 16), "a cat")
    assert (found["b.png"].original_size, found["b.png"].caption) == ((16, 20), "wrong")
    (folder / "b.txt").write_bytes(b"\xff")
    told = read(folder, captions="txt")
    assert (names(told), told.refused) == ({"a.png"}, ("b.png is left out: its caption b.txt is not UTF-8 text.",))


def test_captions_that_no_image_has_are_an_error(folder: Path) -> None:
    for source in ("txt", "manifest"):
        with pytest.raises(NegError, match=f'captions is "{source}"'):
            read(folder, captions=source)
    (folder / "metadata.jsonl").write_text('{"file_name": "other.png", "text": "x"}')
    with pytest.raises(NegError, match='captions is "metadata"'):
        read(folder, captions="metadata")


def test_known_sizes_spare_decoding_and_may_be_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(folder)
    decoded: list[bytes] = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda content: decoded.append(content) or decode(content))
    assert read(folder) == first
    assert not decoded
    for rubbish in (b"", b"[]", b'{"x":{"height":0,"width":3}}'):
        (folder.parent / "known.json").write_bytes(rubbish)
        assert read(folder) == first
    (folder.parent / "known.json").unlink()
    assert read(folder) == first
    assert len(decoded) == 8


def test_the_check_runs_at_every_file(folder: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(folder, check=stop)


def test_too_many_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_FILES", 1)
    with pytest.raises(NegError, match="holds 2 images"):
        read(folder)


def test_marks_that_cannot_be_read_are_not_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "manifest.jsonl")
    with pytest.raises(NegError, match=r"manifest.jsonl is not a regular file"):
        read(folder)
    (folder / "manifest.jsonl").unlink()
    (folder / "manifest.jsonl").symlink_to(folder / "other")
    with pytest.raises(NegError, match=r"manifest.jsonl is not a regular file"):
        read(folder)


def test_no_folder_and_no_image_are_both_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == FolderImages((), (), 0)
    (tmp_path / "file").write_bytes(as_bytes(picture()))
    assert read(tmp_path / "file") == FolderImages((), (), 0)
