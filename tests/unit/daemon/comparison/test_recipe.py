"""A comparison goes on where it stopped, paints and measures nothing twice, and ends with the same files."""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from comparing import ADAPTER, job, prepare
from counting import CountingScorer
from painting import Desk, FakeEngine, file_states

from daemon.comparison.outputs import Summary
from daemon.comparison.recipe import compare
from daemon.files import sha256_file, write_atomic
from daemon.protocol.arms import ArmSpec
from daemon.protocol.codec import MAX_FRAME_BYTES, encode
from daemon.protocol.commands import AnyCommand, Files, ListFiles
from daemon.protocol.errors import NegError
from daemon.protocol.events import ComparisonSaved, ImageSaved, StepProgress
from daemon.recipe import Interrupted
from daemon.sessions import list_files, take
from negtui.packing import pack


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
    return CountingScorer().install(monkeypatch)


@pytest.mark.usefixtures("scorer")
def test_every_cell_and_then_the_comparison_is_told(tmp_path: Path) -> None:
    desk = Desk(prepare(tmp_path))
    *images, saved = compare(job(), desk.context)
    assert [type(event) for event in images] == [ImageSaved] * 12
    assert [event.image.arm for event in images[:4]] == ["baseline", "placebo", "target", "baseline"]
    assert all(sha256_file(tmp_path / event.image.path) == event.image.sha256 for event in images)
    assert {event.image.request.seed for event in images[:3]} == {0}
    assert images[2].image.request.adapters[0].sha256 == sha256_file(tmp_path / ADAPTER)
    assert isinstance(saved, ComparisonSaved)
    assert (saved.report_path, saved.sheet_path) == ("comparisons/default/report.html", "comparisons/default/sheet.png")
    assert (tmp_path / saved.report_path).is_file()
    assert (tmp_path / saved.sheet_path).is_file()
    assert len({event.key for event in (*images, saved)}) == 13
    assert {event.phase for event in desk.told if isinstance(event, StepProgress)} == {"paint", "measure"}


@pytest.mark.usefixtures("scorer")
def test_claims_and_diversity_are_told_and_kept(tmp_path: Path) -> None:
    *_, saved = compare(job(), Desk(prepare(tmp_path)).context)
    assert [claim.name for claim in saved.claims] == [
        "saturation",
        "vibrance",
        "texture",
        "sharpness",
        "exposure",
        "artifacts",
        "obedience",
    ]
    assert {claim.verdict for claim in saved.claims} == {"unclear"}
    assert {effect.num_blocks for effect in saved.effects if effect.metric == "diversity"} == {4}
    summary = msgspec.json.decode((tmp_path / "comparisons/default/summary.json").read_bytes(), type=Summary)
    assert summary.claims == saved.claims
    assert set(summary.means["target"]) >= {"diversity", "exposure", "relative_texture"}
    assert "diversity" not in (tmp_path / "comparisons/default/metrics.csv").read_text()


def test_a_rerun_paints_measures_and_writes_nothing_and_tells_the_same(tmp_path: Path, scorer: CountingScorer) -> None:
    *images, saved = compare(job(), Desk(prepare(tmp_path)).context)
    before = file_states(tmp_path)
    desk = Desk(tmp_path)
    again = list(compare(job(), desk.context))
    assert desk.engine.painted == []
    assert (scorer.num_measured, scorer.num_loads) == (12, 1)
    assert file_states(tmp_path) == before
    assert again == [*(msgspec.structs.replace(event, reused=True) for event in images), saved]


@pytest.mark.usefixtures("scorer")
@pytest.mark.parametrize(
    ("together", "stop_after"),
    [
        *((1, number) for number in (0, 3, 5, 17, 41, 52, 53, 54, 55, 56, 57)),
        *((2, number) for number in (6, 9, 10)),
        (3, 4),
        (3, 5),
        (3, 8),
    ],
)
def test_stopped_anywhere_it_ends_with_the_same_files(tmp_path: Path, together: int, stop_after: int) -> None:
    """Also where arms are painted together: what was finished is kept, and nothing is painted twice."""
    whole, broken = prepare(tmp_path / "whole"), prepare(tmp_path / "broken")
    expected = list(compare(job(), Desk(whole).context))
    stopped = Desk(broken, FakeEngine(together=together), stop_after=stop_after)
    with pytest.raises(Interrupted):
        list(compare(job(), stopped.context))
    resumed = Desk(broken, FakeEngine(together=together))
    events = list(compare(job(), resumed.context))
    assert len(stopped.engine.painted) + len(resumed.engine.painted) == 12
    assert events[-1] == expected[-1]
    assert contents(broken) == contents(whole)


def test_packed_and_taken_on_another_host_nothing_is_made_again(tmp_path: Path, scorer: CountingScorer) -> None:
    here = tmp_path / "here"
    *_, saved = compare(job(), Desk(prepare(here / "mine")).context)
    write_atomic(here / "mine/session.toml", b'[model]\nbase = "toy"\n')

    async def ask(command: AnyCommand) -> Files:
        assert isinstance(command, ListFiles)
        return list_files(here, command)

    async def fetch(session: str, path: str) -> bytes:
        return (here / session / path).read_bytes()

    asyncio.run(pack(ask, fetch, "mine", tmp_path / "mine.zip", note=lambda text: None))
    there = Path(take(tmp_path / "there", tmp_path / "mine.zip").path)
    before = file_states(there)
    desk = Desk(there)
    *images, again = compare(job(), desk.context)
    assert desk.engine.painted == []
    assert all(event.reused for event in images)
    assert scorer.num_measured == 12
    assert again == saved
    assert file_states(there) == before


@pytest.mark.usefixtures("scorer")
def test_arms_that_are_the_same_picture_are_painted_once(tmp_path: Path) -> None:
    """Without a negative prompt the refiner has none anyway."""
    arms = (ArmSpec(name="arm"), ArmSpec(name="shared", refiner="shared"), ArmSpec(name="none", refiner="none"))
    desk = Desk(prepare(tmp_path), FakeEngine(together=3))
    *images, _ = compare(job(arms=arms), desk.context)
    assert len(desk.engine.painted) == 8
    by_cell = {event.index: event.image.id for event in images}
    assert len(by_cell) == 12
    assert all(by_cell[first] == by_cell[first + 1] != by_cell[first + 2] for first in range(0, 12, 3))


def test_a_new_adapter_paints_its_arm_only(tmp_path: Path, scorer: CountingScorer) -> None:
    list(compare(job(), Desk(prepare(tmp_path)).context))
    write_atomic(tmp_path / ADAPTER, b"trained longer")
    desk = Desk(tmp_path)
    *images, _ = compare(job(), desk.context)
    assert [event.image.arm for event in images if not event.reused] == ["target"] * 4
    assert len(desk.engine.painted) == 4
    assert scorer.num_measured == 16


def test_another_comparison_uses_the_same_pictures_and_measures(tmp_path: Path, scorer: CountingScorer) -> None:
    list(compare(job(), Desk(prepare(tmp_path)).context))
    desk = Desk(tmp_path)
    *_, saved = compare(job(output_name="other", num_prompts=2), desk.context)
    assert desk.engine.painted == []
    assert scorer.num_measured == 12
    assert saved.report_path == "comparisons/other/report.html"


def test_a_lost_sheet_is_drawn_again_without_painting_or_measuring(tmp_path: Path, scorer: CountingScorer) -> None:
    *_, saved = compare(job(), Desk(prepare(tmp_path)).context)
    sheet = (tmp_path / saved.sheet_path).read_bytes()
    (tmp_path / saved.sheet_path).unlink()
    desk = Desk(tmp_path)
    assert list(compare(job(), desk.context))[-1] == saved
    assert (tmp_path / saved.sheet_path).read_bytes() == sheet
    assert (desk.engine.painted, scorer.num_measured) == ([], 12)


@pytest.mark.usefixtures("scorer")
def test_prompts_of_a_file_are_painted(tmp_path: Path) -> None:
    (prepare(tmp_path) / "prompts.txt").write_text("5\ta star\n")
    *images, _ = compare(job(prompts=(), prompts_file="prompts.txt"), Desk(tmp_path).context)
    assert {(event.image.request.prompt, event.image.request.seed) for event in images} == {("a star", 5)}


@pytest.mark.parametrize(
    ("changes", "code"), [({"prompts": ()}, "invalid"), ({"output_name": "images"}, "invalid"), ({"prompts_file": "none.txt"}, "not_found")]
)
@pytest.mark.usefixtures("scorer")
def test_what_cannot_be_compared_is_refused_before_painting(tmp_path: Path, changes: dict[str, object], code: str) -> None:
    desk = Desk(prepare(tmp_path))
    with pytest.raises(NegError) as caught:
        list(compare(job(**changes), desk.context))
    assert caught.value.detail.code == code
    assert desk.told == []


@pytest.mark.usefixtures("scorer")
def test_an_untrained_adapter_is_said_before_painting(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(NegError, match="Train it first"):
        list(compare(job(), desk.context))
    assert desk.told == []


@pytest.mark.usefixtures("scorer")
def test_the_event_of_many_arms_fits_a_frame(tmp_path: Path) -> None:
    arms = tuple(
        msgspec.structs.replace(job().comparison.arms[1], name=f"arm-with-a-long-name-{n}", negative_prompt=str(n)) for n in range(64)
    )
    *_, saved = compare(job(1, arms=arms, width=8, height=8), Desk(prepare(tmp_path)).context)
    assert len(encode(saved)) < MAX_FRAME_BYTES


def test_neither_recipe_nor_report_imports_torch() -> None:
    code = "import sys, daemon.comparison.recipe, daemon.synthesis.recipe; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
