"""A sweep goes on where it stopped, paints and measures nothing twice, stops who loses, and ends with the same files."""

from pathlib import Path

import msgspec
import pytest
from comparing import prepare
from counting import CountingScorer
from painting import Desk, file_states
from sweeping import sweep_of

from daemon.comparison.plan import Block
from daemon.comparison.recipe import compare
from daemon.comparison.sweep.recipe import spread, sweep
from daemon.protocol.errors import NegError
from daemon.protocol.events import CellStopped, ImageSaved, SweepSaved
from daemon.protocol.specs import CompareJob
from daemon.protocol.sweep_spec import cell_arms
from daemon.recipe import Interrupted
from tests.fake_sweep import BrightEngine

HEAVY = {"w4-t0-1", "w4-t0-0.8"}


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
    return CountingScorer().install(monkeypatch)


def desk(folder: Path, stop_after: int | None = None) -> Desk:
    return Desk(folder, engine=BrightEngine(), stop_after=stop_after)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_who_clearly_loses_stops_and_the_table_says_so(tmp_path: Path) -> None:
    there = desk(prepare(tmp_path))
    *told, saved = sweep(sweep_of(), there.context)
    assert isinstance(saved, SweepSaved)
    stopped = [event for event in told if isinstance(event, CellStopped)]
    assert {event.cell for event in stopped} == HEAVY
    assert all(event.reason.startswith("stopped after 8 blocks: flaw_probability") for event in stopped)
    images = [event for event in told if isinstance(event, ImageSaved)]
    assert len(images) == len(there.engine.painted) == 24 * 4 + 8 * 2
    assert {event.num_images for event in images} == {24 * 6}
    assert len({event.key for event in (*told, saved)}) == len(told) + 1
    assert (saved.num_cells, saved.num_stopped) == (6, 2)
    assert saved.best not in HEAVY
    folder = tmp_path / "sweeps" / "default"
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.jsonl", "metrics.csv", "sheet-2.png", "sheet-3.png", "sheet-4.png", "sheet.png", "summary.json", "table.csv", "table.md",
    ]  # fmt: skip
    table = (folder / "table.md").read_text()
    assert table.count("stopped after 8 blocks") == 2
    assert "sparing 32 pictures" in table
    assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + len(images)


def test_without_racing_every_cell_is_painted(tmp_path: Path) -> None:
    there = desk(prepare(tmp_path))
    *told, saved = sweep(sweep_of(racing=False), there.context)
    assert len(told) == len(there.engine.painted) == 24 * 6
    assert isinstance(saved, SweepSaved)
    assert saved.num_stopped == 0


def test_a_rerun_paints_measures_and_writes_nothing_and_tells_the_same(tmp_path: Path, scorer: CountingScorer) -> None:
    first = list(sweep(sweep_of(), desk(prepare(tmp_path)).context))
    before, num_measured = file_states(tmp_path), scorer.num_measured
    there = desk(tmp_path)
    again = list(sweep(sweep_of(), there.context))
    assert there.engine.painted == []
    assert scorer.num_measured == num_measured
    assert file_states(tmp_path) == before
    assert again == [msgspec.structs.replace(event, reused=True) if isinstance(event, ImageSaved) else event for event in first]


@pytest.mark.parametrize("stop_after", [0, 7, 47, 49, 119, 122])
def test_stopped_anywhere_it_ends_with_the_same_files(tmp_path: Path, stop_after: int) -> None:
    job = sweep_of(12)
    whole, broken = prepare(tmp_path / "whole"), prepare(tmp_path / "broken")
    calm = desk(whole)
    expected = list(sweep(job, calm.context))
    stopped = desk(broken, stop_after=stop_after)
    with pytest.raises(Interrupted):
        list(sweep(job, stopped.context))
    resumed = desk(broken)
    assert list(sweep(job, resumed.context))[-1] == expected[-1]
    assert len(stopped.engine.painted) + len(resumed.engine.painted) == len(calm.engine.painted)
    assert contents(broken) == contents(whole)


def test_pictures_and_measures_are_shared_with_comparisons(tmp_path: Path, scorer: CountingScorer) -> None:
    job = sweep_of(8)
    list(sweep(job, desk(prepare(tmp_path)).context))
    num_measured = scorer.num_measured
    there = desk(tmp_path)
    arm = msgspec.structs.replace(cell_arms(job.sweep)[0], name="target")
    comparison = msgspec.structs.replace(job.comparison, output_name="other", arms=(arm,))
    list(compare(CompareJob(session=job.session, model=job.model, comparison=comparison), there.context))
    assert there.engine.painted == []
    assert scorer.num_measured == num_measured


def test_the_first_round_sees_every_prompt() -> None:
    blocks = [Block(index, f"prompt {index // 3}", index % 3) for index in range(9)]
    ordered = spread(blocks)
    assert [block.prompt for block in ordered[:3]] == ["prompt 0", "prompt 1", "prompt 2"]
    assert [block.index for block in ordered] == list(range(9))
    assert sorted((block.prompt, block.seed) for block in ordered) == [(block.prompt, block.seed) for block in blocks]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": (1.0,), "guidance_windows": ()}, "one cell only"),
        ({"metric": "sharpness"}, "is not among what decides"),
        ({"weights": (0.5, 1.0), "checkpoints": (7,)}, "not_found|step"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_painting(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    there = desk(prepare(tmp_path))
    with pytest.raises(NegError, match=words):
        list(sweep(sweep_of(8, **changes), there.context))
    assert there.engine.painted == []


def test_without_a_measure_of_quality_nothing_decides(tmp_path: Path) -> None:
    job = sweep_of(8)
    plain = msgspec.structs.replace(job, comparison=msgspec.structs.replace(job.comparison, scorers=()))
    with pytest.raises(NegError, match="tells better from worse"):
        list(sweep(plain, desk(prepare(tmp_path)).context))
