"""The orders that changed a training's weights, on disk: replayed at their steps, a resumed run ends as the undisturbed one.

Free of torch; knows neither the trainer nor who gives orders. The loop opens one `Journal(plan.checkpoints_path / orders.FILE_NAME)`, which
goes when the run's checkpoints are deleted. At every step boundary, before optimizer step `trainer.step + 1` is taken, and nowhere else:

    step = trainer.step + 1
    for order in journal.take(step, context.orders()):
        match order:
            case Sample(): ...                      # never replayed
            case Checkpoint(): ...                  # never replayed
            case LearningRate(): trainer.scale_learning_rate(order.value / spec.learning_rate)    # sets, never compounds
            case StopAndKeep(): ...                 # do not take `step`: export after step - 1

Nothing else need be done on resume: orders before the checkpoint are in its state, later ones come out of `take` at their steps.
Where the loop is interrupted (pause, drain), it calls `take` once more before the checkpoint, so that no order that came meanwhile is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from daemon.files import write_atomic
from daemon.protocol.errors import NegError
from daemon.protocol.orders import DecisiveOrder, Order

FILE_NAME = "orders.jsonl"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the journal: `order` holds for optimizer step `step` (from 1) and those after it."""

    step: int
    order: DecisiveOrder


class Journal:
    """A run's decisive orders as JSON lines, by step. Whole and durable after every `record`; a torn last line is left out."""

    def __init__(self, path: Path) -> None:
        """Read what is there. Raises `NegError` `corrupt` where a line other than a torn last one is no order."""
        self._path = path
        self._entries = _read(path)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All orders, by step: what the adapter's record tells of how it was made."""
        return self._entries

    def at(self, step: int) -> tuple[DecisiveOrder, ...]:
        """The orders that take effect at optimizer step `step` (from 1), before it is taken; the same however often it is asked."""
        return tuple(entry.order for entry in self._entries if entry.step == step)

    def record(self, step: int, order: DecisiveOrder) -> None:
        """Make it durable that `order` takes effect at `step`; call it before acting on it. Raises `NegError` `disk_full`.

        It takes the place of orders of its kind at this step and later ones: the person who spoke last is obeyed, also where the run was
        set back to an older checkpoint since.
        """
        entries = _with(self._entries, Entry(step=step, order=order))
        if entries != self._entries:
            write_atomic(self._path, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
            self._entries = entries

    def take(self, step: int, new: Iterable[Order]) -> tuple[Order, ...]:
        """All to be done before `step` is taken: the `new` orders, decisive ones recorded first, and those recorded for it before."""
        passing: list[Order] = []
        for order in new:
            if isinstance(order, DecisiveOrder):
                self.record(step, order)
            else:
                passing.append(order)
        return (*passing, *self.at(step))


def _with(entries: tuple[Entry, ...], new: Entry) -> tuple[Entry, ...]:
    kept = [old for old in entries if type(old.order) is not type(new.order) or old.step < new.step]
    return tuple(sorted([*kept, new], key=lambda entry: (entry.step, type(entry.order).__name__)))


def _read(path: Path) -> tuple[Entry, ...]:
    lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    entries = []
    # What stands behind the last newline is torn, or nothing.
    for number, line in enumerate(lines[:-1], 1):
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except (msgspec.MsgspecError, ValueError) as error:
            raise NegError(
                "corrupt",
                f"Line {number} of {path}, the orders given to this training, cannot be read: {error}.",
                "Repair the line, or delete the run's checkpoints to begin anew.",
            ) from error
    return tuple(entries)
