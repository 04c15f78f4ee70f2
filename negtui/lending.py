"""The terminal lent to another program, an editor or a command, until that ends. Knows neither which nor why."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from textual.app import App


@contextmanager
def lent(app: App[Any]) -> Iterator[None]:
    """Raises `SuspendNotSupported` where that cannot be. ctrl+c is meanwhile for the other program: the dashboard stays."""
    # Ignored for good it would be ignored by the other program too; a handler is not passed on.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with app.suspend():
            yield
    finally:
        signal.signal(signal.SIGINT, before)
