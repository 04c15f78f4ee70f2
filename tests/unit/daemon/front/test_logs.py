import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.front.logs import HIDDEN, HideSecrets, set_up_logging


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def formatted(message: str) -> str:
    return HideSecrets("%(message)s").format(logging.LogRecord("x", logging.INFO, "", 0, message, (), None))


@pytest.mark.parametrize(
    "message",
    [
        "loading with hf_CanarySecret123",
        "HF_TOKEN=CanarySecret123",
        "wandb api_key: CanarySecret123, next",
        '{"token": "CanarySecret123"}',
        "https://someone:CanarySecret123@host/x",
        "Authorization: Bearer CanarySecret123",
    ],
)
def test_secrets_are_blotted_out_by_their_look(message: str) -> None:
    assert "CanarySecret123" not in formatted(message)
    assert HIDDEN in formatted(message)


def test_secrets_of_the_environment_are_blotted_out_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "CanarySecret123")
    assert formatted("a CanarySecret123 b") == f"a {HIDDEN} b"


def test_what_is_no_secret_stays() -> None:
    message = "job 01HXYZ key key-00001 of sessions/toy: 2 tokenizers, seed=3"
    assert formatted(message) == message


def test_the_file_hides_secrets_in_tracebacks_too(tmp_path: Path) -> None:
    set_up_logging(tmp_path / "log", on_terminal=False)
    try:
        raise ValueError("token=CanarySecret123")
    except ValueError:
        logging.getLogger("x").exception("It failed")
    text = (tmp_path / "log").read_text()
    assert "It failed" in text
    assert "ValueError" in text
    assert "CanarySecret123" not in text
