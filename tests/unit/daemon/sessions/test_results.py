from pathlib import Path

import pytest
from painting import request

from daemon.manifest import write_manifest
from daemon.protocol import codec
from daemon.protocol.commands import ReadComparison
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ImageRecord
from daemon.sessions.results import Comparisons

SUMMARY = """{"name": "default", "verdict": "Better.", "means": {"target": {"sharpness": 1.5}}, "sheet_paths": ["sheet.png"],
"effects": [{"metric": "sharpness", "arm": "target", "against": "baseline", "mean": 2, "mean_against": 1, "difference": 1, "low": 0.5,
"high": 1.5, "confidence": 0.95, "num_blocks": 2}], "num_blocks": 2, "inputs_sha256": "x"}"""
CSV = """block,prompt,seed,arm,image,sharpness,adherence
0,"a star, ""red""\nand two lines",1,baseline,p,0.5,
0,"a star, ""red""\nand two lines",1,target,q,nan,1.0
1,a moon,2,baseline,r,1,0
1,a moon,2,target,s,2,1
"""


def record(id: str, arm: str) -> ImageRecord:
    negative = "wrong" if arm == "target" else None
    return ImageRecord(id=id, path=f"comparisons/images/{id}.png", sha256="0", request=request(negative_prompt=negative), arm=arm)


@pytest.fixture
def folder(sessions_path: Path) -> Path:
    folder = sessions_path / "mine/comparisons/default"
    folder.mkdir(parents=True)
    (sessions_path / "mine/session.toml").write_text('[model]\nbase = "toy"\n')
    arms = ("baseline", "target")
    write_manifest(folder / "manifest.jsonl", [record(id, arms[number % 2]) for number, id in enumerate("pqrs")])
    (folder / "metrics.csv").write_text(CSV)
    (folder / "summary.json").write_text(SUMMARY)
    return folder


def test_a_comparison_is_read_whole(sessions_path: Path, folder: Path) -> None:
    found = Comparisons(sessions_path).read(ReadComparison(session="mine", name="default"))
    assert [(arm.name, arm.negative_prompt, arm.means) for arm in found.arms] == [
        ("baseline", None, {}),
        ("target", "wrong", {"sharpness": 1.5}),
    ]
    assert [(block.index, block.prompt, block.seed) for block in found.blocks] == [
        (0, 'a star, "red"\nand two lines', 1),
        (1, "a moon", 2),
    ]
    cells = [[(cell.image.path, cell.values) for cell in block.cells] for block in found.blocks]
    assert cells == [
        [("comparisons/images/p.png", {"sharpness": 0.5}), ("comparisons/images/q.png", {"adherence": 1.0})],
        [
            ("comparisons/images/r.png", {"sharpness": 1.0, "adherence": 0.0}),
            ("comparisons/images/s.png", {"sharpness": 2.0, "adherence": 1.0}),
        ],
    ]
    assert (found.num_blocks, found.verdict, len(found.effects)) == (2, "Better.", 1)
    assert (found.report_path, found.sheet_paths) == ("comparisons/default/report.html", ("comparisons/default/sheet.png",))


def test_claims_and_the_diagnosis_are_told_with_the_first_page(sessions_path: Path, folder: Path) -> None:
    diagnosis = '{"blocks": [0], "arms": [{"arm": "target", "timesteps": [999.0], "curves": {"guidance_norm": [0.5]}}]}'
    (folder / "diagnosis.json").write_text(diagnosis)
    claims = '"claims": [{"name": "sharpness", "statement": "sharper", "verdict": "unclear"}], "diagnosis_paths": ["diagnosis.json"]'
    (folder / "summary.json").write_text(SUMMARY.replace('"inputs_sha256"', f'{claims}, "inputs_sha256"'))
    comparisons = Comparisons(sessions_path)
    first = comparisons.read(ReadComparison(session="mine", name="default"))
    assert [claim.name for claim in first.claims] == ["sharpness"]
    assert first.diagnosis is not None
    assert first.diagnosis.arms[0].curves == {"guidance_norm": (0.5,)}
    assert comparisons.read(ReadComparison(session="mine", name="default", after_block=1)).diagnosis is None
    (folder / "diagnosis.json").unlink()
    with pytest.raises(NegError, match="do not fit each other"):
        Comparisons(sessions_path).read(ReadComparison(session="mine", name="default"))


def test_blocks_come_in_pages(sessions_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparisons = Comparisons(sessions_path)
    second = comparisons.read(ReadComparison(session="mine", name="default", after_block=1))
    assert ([block.index for block in second.blocks], second.num_blocks) == ([1], 2)
    assert comparisons.read(ReadComparison(session="mine", name="default", after_block=7)).blocks == ()
    monkeypatch.setattr(codec, "MAX_REPLY_BYTES", 1)
    assert [block.index for block in comparisons.read(ReadComparison(session="mine", name="default")).blocks] == [0]


def test_the_whole_of_it_is_there_for_who_judges_it(sessions_path: Path, folder: Path) -> None:
    path, arms, blocks = Comparisons(sessions_path).whole("mine", "default")
    assert (path, [arm.name for arm in arms], len(blocks)) == (folder, ["baseline", "target"], 2)


def test_one_made_anew_is_read_anew(sessions_path: Path, folder: Path) -> None:
    comparisons = Comparisons(sessions_path)
    comparisons.read(ReadComparison(session="mine", name="default"))
    (folder / "summary.json").write_text(SUMMARY.replace("Better.", "Worse now."))
    assert comparisons.read(ReadComparison(session="mine", name="default")).verdict == "Worse now."


def test_one_that_is_not_finished_is_not_found(sessions_path: Path, folder: Path) -> None:
    (folder / "summary.json").unlink()
    with pytest.raises(NegError) as refused:
        Comparisons(sessions_path).read(ReadComparison(session="mine", name="default"))
    assert refused.value.detail.code == "not_found"


@pytest.mark.parametrize("name", ["summary.json", "metrics.csv", "manifest.jsonl"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"{}", b"a,b\n1,2\n", CSV.replace("0.5", "0.5,1,2").encode()])
def test_files_that_do_not_fit_are_said_in_words(sessions_path: Path, folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    try:
        found = Comparisons(sessions_path).read(ReadComparison(session="mine", name="default"))
    except NegError as error:
        assert error.detail.code == "corrupt"  # noqa: PT017
    else:
        assert (name, found.blocks) == ("metrics.csv", ())
