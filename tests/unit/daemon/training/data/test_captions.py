from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import manifest_line

from daemon.manifest import read_manifest
from daemon.protocol.errors import NegError
from daemon.training.data.captions import METADATA_FILE, Captions, no_captions, read_captions
from daemon.training.data.decoding import RefusedImage


def beside(folder: Path, content: bytes) -> str | None:
    (folder / "a.txt").write_bytes(content)
    return read_captions(folder, "txt").of(folder / "a.png")


def metadata(folder: Path, *lines: str) -> Captions:
    (folder / METADATA_FILE).write_text("\n".join(lines))
    return read_captions(folder, "metadata")


def test_without_captions_no_image_has_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a cat")
    found = read_captions(tmp_path, "instance_prompt")
    assert found.of(tmp_path / "a.png") is None
    assert found.num_found == 0


def test_a_text_file_beside_the_image(tmp_path: Path) -> None:
    assert beside(tmp_path, "a café\n  by night \n".encode()) == "a café by night"
    assert beside(tmp_path, b"\xef\xbb\xbfa cat") == "a cat"
    assert beside(tmp_path, b" \n") is None
    assert read_captions(tmp_path, "txt").of(tmp_path / "b.png") is None


def test_a_text_file_that_is_none_refuses_its_image(tmp_path: Path) -> None:
    with pytest.raises(RefusedImage, match=r"a.txt is not UTF-8"):
        beside(tmp_path, b"\xff\xfe\x00")
    with pytest.raises(RefusedImage, match="8,193 characters"):
        beside(tmp_path, b"x" * 8193)
    with pytest.raises(RefusedImage, match=r"a.txt is not usable: it has .* MiB"):
        beside(tmp_path, b"x" * 70_000)
    (tmp_path / "link.txt").symlink_to("a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "dangling.txt").symlink_to("nothing")
    for name, words in (("link", "symbolic link"), ("dangling", "symbolic link"), ("pipe", "not a regular file")):
        with pytest.raises(RefusedImage, match=words):
            read_captions(tmp_path, "txt").of(tmp_path / f"{name}.png")


def test_metadata_names_images_and_its_last_line_counts(tmp_path: Path) -> None:
    found = metadata(
        tmp_path,
        '\ufeff{"file_name": "a.png", "text": "first"}',
        '{"file_name": "./b.png", "text": "a dog", "more": [1]}',
        "",
        '{"file_name": "a.png", "text": "a cat"}',
    )
    assert [found.of(tmp_path / name) for name in ("a.png", "b.png", "c.png")] == ["a cat", "a dog", None]
    assert (found.refused, found.num_found) == ((), 2)


def test_bad_lines_of_metadata_are_refused_by_number(tmp_path: Path) -> None:
    lines = [
        "not json",
        '{"file_name": "a.png"}',
        '{"file_name": "a.png", "text": 3}',
        "[" * 5000,
        '{"file_name": "a.png", "text": "a cat"}',
    ]
    found = metadata(tmp_path, *lines)
    assert found.of(tmp_path / "a.png") == "a cat"
    assert [text.split(" is left out")[0] for text in found.refused] == [f"metadata.jsonl, line {number}" for number in (1, 2, 3, 4)]


@given(st.binary(max_size=200))
def test_no_bytes_break_metadata(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / METADATA_FILE).write_bytes(content)
    read_captions(folder, "metadata").of(folder / "a.png")


def test_metadata_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NegError, match=r"metadata.jsonl cannot be read") as caught:
        read_captions(tmp_path, "metadata")
    assert "file_name" in caught.value.detail.hint


def test_the_manifest_tells_what_an_image_was_painted_with(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(manifest_line("a", prompt="ugly, blurry") + manifest_line("b", prompt=""))
    found = read_captions(tmp_path, "manifest", read_manifest(tmp_path / "manifest.jsonl"))
    assert [found.of(tmp_path / name) for name in ("a.png", "b.png", "c.png")] == ["ugly, blurry", None, None]


@pytest.mark.parametrize("source", ["txt", "metadata", "manifest"])
def test_no_caption_at_all_is_said_in_words(source: str) -> None:
    error = no_captions(Path("/x/photos"), source)  # type: ignore[arg-type]
    assert f'training.captions is "{source}"' in str(error)
    assert "/x/photos" in str(error)
