"""The tables of a session's sweeps, over the comparison screen. Knows the contract, no sockets."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from daemon.protocol.commands import SweepAnswer
from negtui.output import clean
from negtui.screens.reading import ReadingScreen
from negtui.sweeping import sweep_lines


class SweepsScreen(ReadingScreen):
    """A table a sweep, each with where its files lie."""

    def __init__(self, answers: Sequence[SweepAnswer]) -> None:
        super().__init__()
        self._answers = answers

    def on_mount(self) -> None:
        self.tell(sweeps_text(self._answers))


def sweeps_text(answers: Sequence[SweepAnswer]) -> Text:
    """A table a sweep, and the key that leads back."""
    text = Text()
    for answer in answers:
        heading, *lines = sweep_lines(answer)
        text.append(f"{clean(heading)}\n", style="bold")
        text.append("".join(f"{clean(line)}\n" for line in lines))
        text.append(f"Files     {', '.join((f'{answer.folder}/table.csv', *answer.table.sheet_paths))}\n\n")
    text.append("esc goes back to the comparison.", style="dim")
    return text
