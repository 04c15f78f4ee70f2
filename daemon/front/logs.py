"""The daemon's log: a rotated file, or the terminal, and never a secret in it."""

from __future__ import annotations

import logging
import os
import re
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_LOG_BYTES = 4 * 1024 * 1024
NUM_OLD_LOGS = 2
HIDDEN = "[hidden]"
SECRET_VARIABLE = re.compile(r"^(HF_|HUGGING_?FACE|WANDB_).*(TOKEN|KEY)|(^|_)(TOKEN|SECRET|PASSWORD|API_KEY)$")
SECRET_TEXT = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/=-]{8,})"
    r"|(?i:(?:(?<=token)|(?<=secret)|(?<=password)|(?<=api_key)|(?<=apikey))[\"']?\s*[=:]\s*[\"']?[^\s\"',;&]+)"
)


class HideSecrets(logging.Formatter):
    """Formats, then blots out tokens: by their look, and by the values of the environment's secret variables. Tracebacks too."""

    def __init__(self, format: str) -> None:
        super().__init__(format)
        self._values = [value for name, value in os.environ.items() if SECRET_VARIABLE.search(name) and len(value) >= 6]

    def format(self, record: logging.LogRecord) -> str:
        text = SECRET_TEXT.sub(HIDDEN, super().format(record))
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return text


def set_up_logging(path: Path, *, on_terminal: bool) -> None:
    """Log to `path` (rotated at 4 MiB, two old ones kept), or to stderr."""
    handler: logging.Handler
    if on_terminal:
        handler = logging.StreamHandler()
    else:
        handler = RotatingFileHandler(path, maxBytes=MAX_LOG_BYTES, backupCount=NUM_OLD_LOGS, encoding="utf-8")
    handler.setFormatter(HideSecrets("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
