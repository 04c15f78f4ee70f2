"""The entry point of a companion: `python -m daemon.training.accompany FOLDER RANK`, started by `companions.py`.

Its stdin is a pipe from the first process, never written to: it closes with that process, however that ends, and this one ends then.
"""

from __future__ import annotations

import os
import sys
import threading


def main(arguments: list[str]) -> None:
    """Take part until the last step, or until the first process ends; never returns."""
    threading.Thread(target=_end_with_first, name="first", daemon=True).start()
    # Only now: importing torch takes seconds, in which the first process may end.
    from daemon.training import companion

    # At once: a thread that reads stdin would keep the interpreter from ending.
    os._exit(companion.main(arguments))


def _end_with_first() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
