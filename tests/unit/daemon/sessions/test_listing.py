from __future__ import annotations

from pathlib import Path

from daemon import sessions

MODEL = '[model]\nbase = "toy"\n'


def test_rows_count_what_is_there_and_carry_errors(sessions_path: Path) -> None:
    assert sessions.rows(sessions_path) == []
    sessions.create(sessions_path, "good", "toy", {"description": '"d"'}, skip_checks=True)
    sessions.create(sessions_path, "bad", "toy", {}, skip_checks=True)
    (sessions_path / "bad" / "session.toml").write_text(MODEL + "rank = 1")
    (sessions_path / "no-session").mkdir()
    for file in (
        "dataset/a.png",
        "dataset/.thumbnails/64/a.png",
        "adapters/wrong/pytorch_lora_weights.safetensors",
        "adapters/bad-word/learned_embeds.safetensors",
        "comparisons/default/summary.json",
    ):
        path = sessions_path / "good" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    bad, good = sessions.rows(sessions_path)
    assert (bad.name, good.name) == ("bad", "good")
    assert "line 3: model.rank is not a setting" in bad.error
    assert (good.description, good.num_images, good.adapters, good.comparisons, good.error) == (
        "d",
        1,
        ("bad-word", "wrong"),
        ("default",),
        "",
    )
