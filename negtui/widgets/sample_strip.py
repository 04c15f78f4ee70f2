"""The sample pictures of a run over its steps: a line of steps, and a tile for each prompt and arm. Scrubs by left and right.

Knows what was saved (`SamplesSaved`) and how to show a picture; which run it is of is the screen's business.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import Static

from daemon.protocol.events import SamplePicture, SamplesSaved
from negtui.charts import AXIS, EMPTY, Cell
from negtui.keys import bindings
from negtui.output import clean
from negtui.widgets.cells import CellWidget, cells
from negtui.widgets.cut import whole_words
from negtui.widgets.image_view import ImageView, Picture

MIN_WIDTH, MIN_HEIGHT = 13, 6
HERE = 0
NOTHING = "set sample_prompts and sample_steps to see what it learns"

Place = tuple[str, str, int]
"""What a tile is of: arm, prompt, seed."""


class Lines(CellWidget):
    """A few rows of text of which only what changes is sent."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--axis", "lines--here"}
    DEFAULT_CSS = """
    Lines { height: 1; }
    Lines > .lines--axis { color: $foreground-muted; }
    Lines > .lines--here { text-style: bold reverse; }
    """

    def style_of(self, owner: int) -> Any:
        if owner == HERE:
            return self.get_component_rich_style("lines--here", partial=True)
        return self.get_component_rich_style("lines--axis", partial=True) if owner == AXIS else super().style_of(owner)


class Tile(Vertical):
    """One picture with its caption."""

    DEFAULT_CSS = """
    Tile { width: 1fr; height: 1fr; }
    Tile > ImageView { height: 1fr; width: 1fr; }
    Tile.-away { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.image = ImageView()
        self.caption = Lines()
        self._heading: list[Cell] = []
        self._figures: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.image
        yield self.caption

    def show(self, session: str, picture: SamplePicture | None, step: int, side: int, is_chosen: bool) -> None:
        """`side`: pixels of the picture's sides."""
        self.image.picture = Picture(session, picture.path, side, side) if picture is not None else None
        arm = picture.arm if picture is not None else "not painted"
        read = [f"{name.split('_')[0]} {value:.2g}" for name, value in picture.values.items()] if picture is not None else []
        self._heading = cells(f">{clean(arm)}", HERE) if is_chosen else cells(clean(arm), EMPTY)
        self._figures = [str(step), *map(clean, read)]
        self._paint_caption()

    def on_resize(self) -> None:
        self._paint_caption()

    def _paint_caption(self) -> None:
        """As many figures as fit beside the arm; before there is a size, none."""
        self.caption.paint([self._heading + cells(whole_words(self._figures, self.size.width - len(self._heading)), AXIS)])


class SampleStrip(Container, can_focus=True):
    """`show` takes what a run saved so far, oldest first. Without a step of its own choice it stands at the newest."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("samples")]
    DEFAULT_CSS = """
    SampleStrip { height: 1fr; }
    SampleStrip > #prompt { height: 1; }
    SampleStrip > #tiles { layout: grid; grid-gutter: 0 1; height: 1fr; overflow: hidden; }
    """

    class Moved(Message):
        """The tiles now show the samples of this step."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.is_linked = True
        self.is_full = False
        self.chosen = 0
        self._saved: list[SamplesSaved] = []
        self._at: int | None = None
        self._own: dict[Place, int] = {}
        """Where tiles stand that are not linked."""
        self._places: list[Place] = []
        self._side = 1024
        self._words = ""

    def compose(self) -> ComposeResult:
        yield Lines(id="steps")
        yield Static(id="prompt", markup=False)
        yield Container(id="tiles")

    def show(self, saved: Sequence[SamplesSaved], side: int) -> None:
        """The samples of a run; `side`: pixels of a picture's sides."""
        fresh = sorted(saved, key=lambda event: event.step)
        if fresh == self._saved and side == self._side:
            return
        self._saved, self._side = fresh, side
        self._places = _places(fresh)
        self.chosen = min(self.chosen, max(len(self._places) - 1, 0))
        self.refresh_tiles()

    def reset(self) -> None:
        """Another run: the newest step again."""
        self._at, self._own, self.is_full = None, {}, False

    def go_to(self, step: int) -> None:
        """The newest samples not newer than a step."""
        if self._saved:
            self._at = max(bisect_right([event.step for event in self._saved], step) - 1, 0)
            self.refresh_tiles()

    def link(self, is_linked: bool) -> None:
        """Whether all tiles move together."""
        self.is_linked = is_linked
        self._own = {} if is_linked else dict.fromkeys(self._places, self.index)
        self.refresh_tiles()

    @property
    def index(self) -> int:
        """Which of the saved samples the tiles show."""
        return len(self._saved) - 1 if self._at is None else min(self._at, len(self._saved) - 1)

    @property
    def step(self) -> int | None:
        """The step that is shown."""
        return self._saved[self.index].step if self._saved else None

    def action_step(self, by: int) -> None:
        if self._saved:
            place = self._chosen_place
            before = self._own.get(place, self.index) if place else self.index
            self._move(max(0, min(len(self._saved) - 1, before + by)))

    def action_end(self, which: int) -> None:
        if self._saved:
            self._move(len(self._saved) - 1 if which > 0 else 0)
            if which > 0 and self.is_linked:
                self._at = None  # follow those that come

    def action_choose(self, by: int) -> None:
        self.chosen = max(0, min(len(self._places) - 1, self.chosen + by))
        self.refresh_tiles()

    def action_full(self) -> None:
        self.is_full = not self.is_full
        self.refresh_tiles()

    def action_copy(self) -> None:
        """The chosen tile's prompt with its seed, to the clipboard of the terminal."""
        place = self._chosen_place
        if place is None:
            self.notify("There are no samples yet.", markup=False)
            return
        self.app.copy_to_clipboard(clean(f"{place[1]}  (seed {place[2]})"))
        self.notify("Copied the prompt with its seed.", markup=False)

    def back(self) -> bool:
        """One level back: full size. False where there is none."""
        if self.is_full:
            self.action_full()
            return True
        return False

    def on_resize(self) -> None:
        self.refresh_tiles()

    def on_focus(self) -> None:
        self.refresh_tiles()

    def on_blur(self) -> None:
        self.refresh_tiles()

    @property
    def _chosen_place(self) -> Place | None:
        return self._places[self.chosen] if self._places else None

    def _move(self, index: int) -> None:
        place = self._chosen_place
        if self.is_linked or place is None:
            self._at = index
        else:
            self._own[place] = index
        self.refresh_tiles()
        self.post_message(self.Moved(self._saved[index].step))

    def refresh_tiles(self) -> None:
        """Bring tiles and lines up to date with what is known and chosen."""
        if not self.is_mounted:
            return
        self._paint_lines()
        box = self.query_one("#tiles", Container)
        tiles = list(box.query(Tile))
        if len(tiles) < len(self._places):
            more = [Tile() for _ in range(len(self._places) - len(tiles))]
            box.mount(*more)
            self.call_after_refresh(self.refresh_tiles)
            return
        columns, rows = self._fitting(box.size.width, box.size.height)
        box.styles.grid_size_columns, box.styles.grid_size_rows = columns, rows
        page = self.chosen // (columns * rows)
        for number_, tile in enumerate(tiles):
            is_away = number_ >= len(self._places) or number_ // (columns * rows) != page
            tile.set_class(is_away, "-away")
            if not is_away:
                self._show_tile(tile, number_)

    def _show_tile(self, tile: Tile, number_: int) -> None:
        place = self._places[number_]
        event = self._saved[self.index if self.is_linked else min(self._own.get(place, self.index), len(self._saved) - 1)]
        picture = next((picture for picture in event.pictures if _place(picture) == place), None)
        tile.show(event.session, picture, event.step, self._side, number_ == self.chosen and self.has_focus)

    def _fitting(self, width: int, height: int) -> tuple[int, int]:
        if self.is_full or not self._places:
            return 1, 1
        arms = len({place[0] for place in self._places})
        columns = max(1, min((width + 1) // (MIN_WIDTH + 1), len(self._places)))
        # Whole sets of arms beside one another, so that a row compares like with like.
        columns = columns // arms * arms or columns
        return columns, max(1, min(height // MIN_HEIGHT, -(-len(self._places) // columns)))

    def _paint_lines(self) -> None:
        width = self.size.width
        steps: list[Cell] = cells("samples ", AXIS)
        if not self._saved:
            steps += cells("none yet", AXIS)
        place = self._chosen_place
        here = self.index if self.is_linked or place is None else self._own.get(place, self.index)
        marks = [str(event.step) for event in self._saved]
        first = max(0, min(here - 3, len(marks) - max(1, (width - 24) // 7)))
        for index in range(first, len(marks)):
            steps += cells(f"[{marks[index]}]", HERE) if index == here else cells(marks[index], AXIS)
            steps += cells(" ", AXIS)
        steps += cells("" if self.is_linked else " not linked", AXIS)
        self.query_one("#steps", Lines).paint([steps[:width]])
        words = " ".join(clean(f"{place[1]} (seed {place[2]})").split()) if place else NOTHING
        if words != self._words:
            self._words = words
            self.query_one("#prompt", Static).update(Text(words, no_wrap=True, overflow="ellipsis"))


def _place(picture: SamplePicture) -> Place:
    return picture.arm, picture.prompt, picture.seed


def _places(saved: Sequence[SamplesSaved]) -> list[Place]:
    """Prompt by prompt in the order of the arms, whichever of them came first: step 0 has no target."""
    pictures = [picture for event in saved for picture in event.pictures]
    arms = [*dict.fromkeys(picture.arm for picture in pictures)]
    prompts = [*dict.fromkeys((picture.prompt, picture.seed) for picture in pictures)]
    return sorted({_place(picture) for picture in pictures}, key=lambda place: (prompts.index(place[1:]), arms.index(place[0])))
