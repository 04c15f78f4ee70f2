"""As many and as large pictures as the file may hold."""

from dataclasses import replace
from pathlib import Path

import pytest
from found import findings

from daemon.comparison.report.pictures import choose_shown, data_uri, picture_path
from daemon.pictures import thumbnail_path


@pytest.fixture
def images_path(tmp_path: Path) -> Path:
    """Thumbnails of 512 pixels take 100 bytes each, those of 256 take 10."""
    for id in findings().picture_ids.values():
        for pixels, size in ((512, 100), (256, 10)):
            path = thumbnail_path(tmp_path, id, pixels)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * size)
    return tmp_path


@pytest.mark.parametrize(("limit", "pixels", "num_blocks"), [(600, 512, 2), (599, 256, 2), (60, 256, 2), (59, 256, 1), (1, 256, 1)])
def test_the_limit_decides(images_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, pixels: int, num_blocks: int) -> None:
    monkeypatch.setattr("daemon.comparison.report.pictures.MAX_PICTURE_BYTES", limit)
    shown = choose_shown(findings(), images_path)
    assert (shown.pixels, len(shown.blocks)) == (pixels, num_blocks)


def test_a_cell_s_picture_is_its_own(images_path: Path) -> None:
    found = replace(findings())
    path = picture_path(found, images_path, found.blocks[1], "placebo", 256)
    assert path.stem == found.picture_ids[1, "placebo"]
    assert data_uri(path) == "data:image/webp;base64,eHh4eHh4eHh4eA=="
