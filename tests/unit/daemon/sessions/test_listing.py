from __future__ import annotations

from pathlib import Path

from daemon import sessions
from daemon.judging.votes import Opened, Undone, Voted, append
from daemon.protocol.voting import RoundSpec

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
    comparison = sessions_path / "good" / "comparisons" / "default"
    round_1 = Opened(round_id="r1", time=0.0, voter="ann", spec=RoundSpec(), arms=("a", "b"), pictures_sha256="0", num_trials=3)
    votes = [
        Voted(
            round_id="r1",
            time=1.0,
            voter="ann",
            number=number,
            prompt="p",
            seed=0,
            arms=("a", "b"),
            sha256s=("1", "2"),
            choice="tie",
            chosen="",
        )
        for number in range(3)
    ]
    for line in (round_1, *votes, Undone(round_id="r1", time=2.0, number=1)):
        append(comparison, line)
    bad, good = sessions.rows(sessions_path)
    assert (bad.name, good.name) == ("bad", "good")
    assert "line 3: model.rank is not a setting" in bad.error
    assert (bad.num_votes, good.num_votes) == (0, 2)
    assert (good.description, good.num_images, good.adapters, good.comparisons, good.error) == (
        "d",
        1,
        ("bad-word", "wrong"),
        ("default",),
        "",
    )
