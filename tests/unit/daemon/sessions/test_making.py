from __future__ import annotations

from pathlib import Path

import pytest

from daemon import sessions
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SessionSpec
from daemon.sessions import making


def test_changes_keep_comments_and_none_takes_away(sessions_path: Path) -> None:
    changes = {
        "model.base": '"/models/x"',
        "model.refiner": "none",
        "synthesis.denoising_split": "none",
        "training.rank": "8",
        "comparison.seeds": "[1, 2]",
        "description": '"mine"',
    }
    answer = sessions.create(sessions_path, "mine", "wrong", changes, skip_checks=True)
    assert answer.spec.model.base == "/models/x"
    assert answer.spec.model.refiner is None
    assert answer.spec.synthesis is not None
    assert answer.spec.synthesis.denoising_split is None
    assert answer.spec.training is not None
    assert answer.spec.training.rank == 8
    assert answer.spec.comparison is not None
    assert answer.spec.comparison.seeds == (1, 2)
    text = (sessions_path / "mine" / "session.toml").read_text()
    assert "# SDXL's own VAE overflows in float16" in text
    assert sessions.read(sessions_path, "mine") == answer.spec


def test_a_session_can_be_a_template(sessions_path: Path) -> None:
    sessions.create(sessions_path, "first", "toy", {"training.rank": "2"}, skip_checks=True)
    answer = sessions.create(sessions_path, "second", "first", {}, skip_checks=True)
    assert answer.spec == sessions.read(sessions_path, "first")
    assert (sessions_path / "second" / "prompts.txt").is_file()


@pytest.mark.parametrize(
    ("name", "template", "changes", "code", "words"),
    [
        ("mine", "toy", {"training.rnak": "1"}, "invalid", "did you mean training.rank"),
        ("mine", "toy", {"training.rank": "0"}, "invalid", "training.rank is 0; allowed: a whole number from 1 to 1024"),
        ("mine", "toy", {"training.rank": "1\nseed = 2"}, "invalid", "more than one TOML value"),
        ("mine", "toy", {"training.rank": "four"}, "invalid", "is not a TOML value"),
        ("mine", "toy", {"training.rank": "none"}, "invalid", "cannot be none"),
        ("mine", "toy", {"model.base": '"/nowhere/model.safetensors"'}, "not_found", "/nowhere/model.safetensors"),
        ("mine", "toy", {"comparison.prompts_file": '"../../secret"'}, "invalid", "leads out"),
        ("mine", "toy", {"comparison.prompts_file": '"missing.txt"'}, "not_found", "missing.txt"),
        ("mine", "tyo", {}, "not_found", "did you mean toy?"),
        ("Mine", "toy", {}, "invalid", "cannot name a session"),
        ("../mine", "toy", {}, "invalid", "cannot name a session"),
        ("taken", "toy", {}, "conflict", "exists already"),
    ],
)
def test_a_refused_session_leaves_nothing_behind(
    sessions_path: Path, name: str, template: str, changes: dict[str, str], code: str, words: str
) -> None:
    (sessions_path / "taken").mkdir(parents=True)
    with pytest.raises(NegError) as caught:
        sessions.create(sessions_path, name, template, changes)
    assert caught.value.detail.code == code
    assert words in str(caught.value)
    assert [path.name for path in sessions_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[model\n", "line 1: this is not TOML"),
        (b'description = "\xff"\n', "line 1: this is not UTF-8 text"),
        (b"x = " + b"[" * 5000, "nested"),
    ],
)
def test_a_template_that_cannot_be_read_is_said_with_its_line(sessions_path: Path, content: bytes, words: str) -> None:
    (sessions_path / "broken").mkdir(parents=True)
    (sessions_path / "broken" / "session.toml").write_bytes(content)
    with pytest.raises(NegError, match=words) as caught:
        sessions.create(sessions_path, "mine", "broken", {"training.rank": "2"})
    assert caught.value.detail.code == "invalid"
    assert "broken/session.toml" in str(caught.value)
    assert [path.name for path in sessions_path.iterdir()] == ["broken"]


def test_a_name_that_somebody_else_takes_meanwhile_is_a_conflict(sessions_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(spec: SessionSpec, folder: Path) -> list[str]:
        sessions.create(sessions_path, "mine", "toy", {}, skip_checks=True)
        return []

    monkeypatch.setattr(making, "warnings", slow)
    with pytest.raises(NegError, match="exists already") as caught:
        sessions.create(sessions_path, "mine", "toy", {"training.rank": "2"})
    assert caught.value.detail.code == "conflict"
    assert [path.name for path in sessions_path.iterdir()] == ["mine"]
    training = sessions.read(sessions_path, "mine").training
    assert training is not None
    assert training.rank != 2


def test_too_little_room_is_said_before_anything_is_written(sessions_path: Path) -> None:
    pictures = {"synthesis.seeds": str(list(range(10_000))), "synthesis.width": "4096", "synthesis.height": "4096"}
    pictures["synthesis.guidance_scales"] = str(list(range(64)))
    with pytest.raises(NegError) as caught:
        sessions.create(sessions_path, "mine", "toy", pictures)
    assert caught.value.detail.code == "disk_full"
    assert list(sessions_path.iterdir()) == []
