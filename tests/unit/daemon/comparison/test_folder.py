"""What the folders of comparisons and sweeps hold alike, and when they count as finished."""

from pathlib import Path

import msgspec
import pytest
from counting import CountingScorer
from painting import Desk, draw, request

from daemon.comparison.arms import Arm
from daemon.comparison.folder import measure_records, read_summary, write_metrics, write_sheets, write_summary
from daemon.comparison.plan import Block
from daemon.files import sha256_file
from daemon.measuring.measures import find_scorers
from daemon.pictures import encode_png
from daemon.protocol.specs import ComparisonSpec, ImageRecord


class Told(msgspec.Struct, frozen=True):
    """A summary as small as can be."""

    inputs_sha256: str

    @property
    def file_names(self) -> tuple[str, ...]:
        return ("table.csv",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").touch()
    write_summary(tmp_path, Told("of these"))
    return tmp_path


def never() -> None:
    """Nobody asks it to stop."""


def test_a_summary_counts_for_its_inputs_while_its_files_are_there(folder: Path) -> None:
    assert read_summary(folder, Told, "of these") == Told("of these")
    assert read_summary(folder, Told, "of others") is None
    (folder / "table.csv").unlink()
    assert read_summary(folder, Told, "of these") is None


def test_without_a_summary_nothing_is_finished(tmp_path: Path) -> None:
    assert read_summary(tmp_path, Told, "of these") is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}"])
def test_a_damaged_summary_counts_for_nothing(folder: Path, content: bytes) -> None:
    (folder / "summary.json").write_bytes(content)
    assert read_summary(folder, Told, "of these") is None


def test_sheets_are_numbered_from_the_second_on_and_old_ones_are_removed(tmp_path: Path) -> None:
    assert write_sheets([b"a", b"b", b"c"], tmp_path, never) == ["sheet.png", "sheet-2.png", "sheet-3.png"]
    assert write_sheets([b"d", b"e"], tmp_path, never) == ["sheet.png", "sheet-2.png"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"sheet.png": b"d", "sheet-2.png": b"e"}


def test_figures_have_a_row_a_picture_and_are_empty_where_there_are_none(tmp_path: Path) -> None:
    arms = [Arm(name, (), None, name) for name in ("first", "second")]
    image_ids = {(0, "first"): "id1", (0, "second"): "id2", (1, "second"): "id3"}
    values = {(0, "first"): {"contrast": 0.5, "adherence": 1.0}, (0, "second"): {"contrast": 0.25}, (1, "second"): {"contrast": 0.125}}
    write_metrics(tmp_path, "cell", [Block(0, "a, b", 7), Block(1, "c", 8)], arms, image_ids, values)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "block,prompt,seed,cell,image,adherence,contrast",
        '0,"a, b",7,first,id1,1.0,0.5',
        '0,"a, b",7,second,id2,,0.25',
        "1,c,8,second,id3,,0.125",
    ]


def test_pictures_are_measured_by_their_own_prompts_and_once_for_all_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CountingScorer().install(monkeypatch)
    scorers = find_scorers(ComparisonSpec(scorers=("toy-probe",)), tmp_path)
    records = []
    for prompt in ("a star", "a circle"):
        asked = request(prompt=prompt, width=16, height=16)
        path = tmp_path / f"{prompt}.png"
        path.write_bytes(encode_png(draw(asked)))
        records.append(ImageRecord(id=prompt, path=path.name, sha256=sha256_file(path), request=asked))
    found = measure_records(Desk(tmp_path).context, records, scorers)
    assert [found[record.sha256]["adherence"] for record in records] == [1.0, 0.0]
    assert measure_records(Desk(tmp_path).context, records, scorers) == found
    assert scorer.num_measured == 2
