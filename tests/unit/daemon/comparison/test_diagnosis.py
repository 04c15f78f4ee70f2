"""The first blocks are looked at once, however often the comparison is run or stopped."""

from pathlib import Path

import msgspec
import pytest
from comparing import job, prepare
from counting import CountingScorer
from painting import Desk, file_states

from daemon.comparison.recipe import compare
from daemon.protocol.diagnosis import Diagnosis
from daemon.protocol.events import StepProgress
from daemon.recipe import Interrupted


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
    return CountingScorer().install(monkeypatch)


def told(folder: Path) -> Diagnosis:
    return msgspec.json.decode((folder / "comparisons/default/diagnosis.json").read_bytes(), type=Diagnosis)


def test_curves_and_maps_of_the_first_blocks_are_kept(tmp_path: Path) -> None:
    desk = Desk(prepare(tmp_path))
    list(compare(job(diagnose_blocks=2), desk.context))
    found = told(tmp_path)
    assert (found.blocks, [arm.arm for arm in found.arms]) == ((0, 1), ["baseline", "placebo", "target"])
    assert all(len(curve) == len(arm.timesteps) == 4 for arm in found.arms for curve in arm.curves.values())
    assert "adapter_negative_norm" in found.arms[2].curves
    assert "adapter_negative_norm" not in found.arms[1].curves
    assert "cosine_guidance_baseline" in found.arms[1].curves
    assert found.largest_pixel_difference == 0
    kinds = [(one.block, one.arm, one.kind) for one in found.maps if one.block == 1]
    assert kinds == [
        (1, "baseline", "guidance"),
        (1, "placebo", "guidance"),
        (1, "target", "guidance"),
        (1, "placebo", "difference"),
        (1, "target", "difference"),
    ]
    assert all((tmp_path / "comparisons/default" / one.path).is_file() for one in found.maps)
    assert "diagnose" in {event.phase for event in desk.told if isinstance(event, StepProgress)}


def test_a_rerun_looks_at_nothing_again(tmp_path: Path) -> None:
    list(compare(job(diagnose_blocks=2), Desk(prepare(tmp_path)).context))
    before = file_states(tmp_path)
    desk = Desk(tmp_path)
    list(compare(job(diagnose_blocks=2), desk.context))
    assert desk.engine.painted == []
    assert file_states(tmp_path) == before


def test_more_blocks_look_at_the_new_ones_only_and_fewer_remove_theirs(tmp_path: Path) -> None:
    list(compare(job(diagnose_blocks=1), Desk(prepare(tmp_path)).context))
    desk = Desk(tmp_path)
    list(compare(job(diagnose_blocks=3), desk.context))
    assert [request.prompt for request in desk.engine.painted[::3]] == ["star number 1", "square number 2"]
    list(compare(job(diagnose_blocks=1), Desk(tmp_path).context))
    assert {path.name for path in (tmp_path / "comparisons/default/diagnosis").glob("*.json")} == {"block-0.json"}
    list(compare(job(), Desk(tmp_path).context))
    assert not (tmp_path / "comparisons/default/diagnosis.json").exists()


def test_a_lost_map_is_made_again(tmp_path: Path) -> None:
    list(compare(job(diagnose_blocks=2), Desk(prepare(tmp_path)).context))
    path = tmp_path / "comparisons/default/diagnosis/block-1-target-guidance.png"
    content = path.read_bytes()
    path.unlink()
    desk = Desk(tmp_path)
    list(compare(job(diagnose_blocks=2), desk.context))
    assert path.read_bytes() == content
    assert len(desk.engine.painted) == 3


@pytest.mark.parametrize("share", [0.6, 0.7, 0.8, 0.9, 0.98])
def test_stopped_anywhere_it_ends_with_the_same_files(tmp_path: Path, share: float) -> None:
    whole, broken = prepare(tmp_path / "whole"), prepare(tmp_path / "broken")
    undisturbed = Desk(whole)
    list(compare(job(diagnose_blocks=2), undisturbed.context))
    with pytest.raises(Interrupted):
        list(compare(job(diagnose_blocks=2), Desk(broken, stop_after=int(share * undisturbed.num_asked)).context))
    list(compare(job(diagnose_blocks=2), Desk(broken).context))
    files = {str(path.relative_to(whole)): path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert {str(path.relative_to(broken)): path.read_bytes() for path in broken.rglob("*") if path.is_file()} == files


def test_one_arm_alone_is_looked_at_too(tmp_path: Path) -> None:
    list(compare(job(diagnose_blocks=1, arms=job().comparison.arms[:1]), Desk(prepare(tmp_path)).context))
    assert {one.kind for one in told(tmp_path).maps} == {"guidance"}
