"""A scorer's files are found where they should lie, or it is said what is missing, from where and under which licence."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from daemon.files import write_atomic
from daemon.models.scorer_files import SCORER_SOURCES, check_scorers, find_scorer_files
from daemon.protocol.errors import NegError
from daemon.protocol.specs import ComparisonSpec, ScorerName, ScorerPaths

CLIP = ("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors")
FILES = {
    "clip-score": CLIP,
    "pickscore": CLIP,
    "hpsv2.1": ("open_clip_config.json", "preprocessor_config.json", "tokenizer.json", "HPS_v2.1_compressed.safetensors"),
    "imagereward": ("med_config.json", "vocab.txt", "ImageReward.safetensors"),
    "aesthetic": ("config.json", "preprocessor_config.json", "aesthetic_head.safetensors", "model.safetensors"),
}


@pytest.fixture
def session_path(tmp_path: Path) -> Path:
    return tmp_path / "sessions" / "mine"


def put(folder: Path, *names: str) -> Path:
    for name in names:
        write_atomic(folder / name, b"{}")
    return folder


def comparison(**changes: object) -> ComparisonSpec:
    return ComparisonSpec(**changes)  # type: ignore[arg-type]


def test_every_scorer_but_the_probe_has_its_source_and_its_path() -> None:
    assert set(get_args(ScorerName)) - {"toy-probe"} == set(SCORER_SOURCES) == set(FILES)
    assert {one.field for one in SCORER_SOURCES.values()} == {field.name for field in msgspec.structs.fields(ScorerPaths)}
    assert all(one.licence and one.source for one in SCORER_SOURCES.values())


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_workspace_are_found_and_all_of_them_decide(session_path: Path, name: str) -> None:
    folder = put(session_path.parent.parent / "scorers" / name, *FILES[name])
    found = find_scorer_files(name, ScorerPaths(), session_path)
    assert found.folder == folder
    assert {path.name for path in found.decisive} == set(FILES[name])
    check_scorers(comparison(scorers=(name, "toy-probe")), session_path)


@pytest.mark.parametrize("name", FILES)
def test_each_missing_file_is_named_with_licence_and_source(session_path: Path, name: str) -> None:
    for left_out in FILES[name]:
        folder = put(session_path.parent.parent / "scorers" / name / left_out, *(one for one in FILES[name] if one != left_out))
        paths = ScorerPaths(**{SCORER_SOURCES[name].field: str(folder)})
        with pytest.raises(NegError) as caught:
            find_scorer_files(name, paths, session_path)
        assert caught.value.detail.code == "not_found"
        assert left_out in caught.value.detail.message
        assert SCORER_SOURCES[name].licence in caught.value.detail.hint
        assert SCORER_SOURCES[name].source in caught.value.detail.hint


@pytest.mark.parametrize(
    ("name", "left_out", "pickled"),
    [
        ("clip-score", "model.safetensors", "pytorch_model.bin"),
        ("hpsv2.1", "HPS_v2.1_compressed.safetensors", "HPS_v2.1_compressed.pt"),
        ("imagereward", "ImageReward.safetensors", "ImageReward.pt"),
        ("aesthetic", "aesthetic_head.safetensors", "aesthetic_head.pth"),
    ],
)
def test_a_pickle_in_its_place_is_refused_with_a_way_out(session_path: Path, name: str, left_out: str, pickled: str) -> None:
    put(session_path.parent.parent / "scorers" / name, *(one for one in FILES[name] if one != left_out), pickled)
    with pytest.raises(NegError, match="pickle, which can run code when it is read, and is refused") as caught:
        find_scorer_files(name, ScorerPaths(), session_path)
    assert caught.value.detail.hint.startswith(f"Convert it to {left_out}")


def test_a_path_may_be_absolute_of_the_session_or_of_the_home(session_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(session_path.parent))
    for told, folder in (
        ("clip", session_path / "clip"),
        ("~/c", session_path.parent / "c"),
        (str(session_path / "x"), session_path / "x"),
    ):
        put(folder, *CLIP)
        assert find_scorer_files("clip-score", ScorerPaths(clip_score=told), session_path).folder == folder


def test_a_tokenizer_may_be_of_two_files(session_path: Path) -> None:
    put(session_path.parent.parent / "scorers/clip-score", *(one for one in CLIP if one != "tokenizer.json"), "vocab.json")
    with pytest.raises(NegError, match=r"holds no tokenizer\.json or vocab\.json with merges\.txt"):
        find_scorer_files("clip-score", ScorerPaths(), session_path)
    put(session_path.parent.parent / "scorers/clip-score", "merges.txt")
    assert len(find_scorer_files("clip-score", ScorerPaths(), session_path).decisive) == 5
