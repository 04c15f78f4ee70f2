from __future__ import annotations

from pathlib import Path

import pytest

from daemon import sessions
from daemon.protocol.errors import NegError


def test_doubts_are_warnings(sessions_path: Path) -> None:
    changes = {
        "training.output_name": '"other"',
        "comparison.num_prompts": "5000",
        "model.refiner": "none",
    }
    warnings = sessions.create(sessions_path, "mine", "toy", changes).warnings
    for words in ("adapter 'wrong'", "num_prompts is 5000", "no refiner"):
        assert any(words in warning for warning in warnings), words
    assert sessions.check(sessions_path, "mine").warnings == warnings


def test_a_wrong_prompt_in_the_prompts_file_is_named_with_its_line(sessions_path: Path) -> None:
    sessions.create(sessions_path, "mine", "toy", {}, skip_checks=True)
    (sessions_path / "mine" / "prompts.txt").write_text("a star\n\n7\ta (star:1.5)\n")
    with pytest.raises(NegError, match=r"prompts.txt, line 3: "):
        sessions.check(sessions_path, "mine")
