"""Screen 2: plan a synthesis, watch it fill, choose among its pictures by single keys. Knows the contract, no sockets."""

from __future__ import annotations

import io
from functools import partial
from typing import ClassVar

from PIL import Image
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from daemon.protocol.commands import Images, ListImages
from daemon.protocol.events import ImagesFolder, JobRow, Preview
from daemon.protocol.specs import ImageRecord, SynthesizeJob, TrainJob
from negtui import wording
from negtui.dataset import Gallery
from negtui.keys import bindings
from negtui.output import clean
from negtui.screens.base import NO_SESSION
from negtui.screens.beside import beside
from negtui.screens.near_duplicates import NearDuplicatesScreen
from negtui.view import ALL, OPEN, View
from negtui.widgets.image_grid import TILE_COLUMNS, TILE_ROWS, GridItem, ImageGrid
from negtui.widgets.image_view import ImageView
from negtui.widgets.plan_pane import PlanPane
from negtui.widgets.text_form import TextForm

PAGE = 500
SMALL_TILE = (16, 7)
NOTHING = (
    "This session has no pictures yet. e plans its synthesis: keywords, weights, guidance values, seeds; the count, time and disk that "
    "it takes are shown. r starts it as its session.toml says."
)
NO_CLASS_IMAGES = (
    "This session has no class images. A training with prior preservation (with_prior_preservation, class_prompt) paints what is missing "
    "of its num_class_images with the base alone, before its first step. C shows the dataset."
)
PAINTED_BY: dict[ImagesFolder, type[SynthesizeJob] | type[TrainJob]] = {"dataset": SynthesizeJob, "class_images": TrainJob}
SHOWN = frozenset({"current_session", "images", "marks", "sessions", "jobs"})


class DatasetScreen(NearDuplicatesScreen):
    """What the daemon tells of the current session's pictures, brought to the gallery."""

    SCOPE = "dataset"
    TITLE = "Dataset"
    CSS_PATH = "dataset.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("dataset")]

    def __init__(self) -> None:
        super().__init__()
        self._num_told: dict[str, int] = {}
        self._is_loaded = False
        self._has_failed = False
        """Whether the pictures could not be listed: they are asked for again once there is a connection."""

    @property
    def session(self) -> str:
        return self.gallery.session

    def compose_body(self) -> ComposeResult:
        yield Static(id="dataset-heading", markup=False)
        with Horizontal(id="dataset-main"):
            yield ImageGrid(id="dataset-grid")
            with Vertical(id="dataset-side"):
                yield Static(id="dataset-balance", markup=False)
        yield ImageView(id="dataset-full")
        yield PlanPane(id="dataset-plan")
        yield Static(NOTHING, id="dataset-empty", markup=False)
        yield Static(id="dataset-caption", markup=False)
        yield TextForm(id="dataset-form")

    def on_resize(self, event: events.Resize) -> None:
        """Smaller tiles where there is little room: two rows of four at 80 x 24."""
        self.grid.tile_size = SMALL_TILE if event.size.height < 30 else (TILE_COLUMNS, TILE_ROWS)

    def show(self, view: View, changed: frozenset[str]) -> None:
        session = self.session_at_hand or ""
        if session != self.gallery.session or not session:
            self._begin(session, "dataset")
        elif self._has_failed and "connection" in changed and view.connection.state == "connected":
            self.load_soon()
        elif changed & SHOWN and self._is_loaded:
            self._take_told(view, changed)
        if self.pending is not None and self._painting is None:
            self.pending = None
            self.show_shown()
        self.show_heading()
        if self.focused is None and not self.has_class("-full"):
            self.grid.focus()

    def close_plan(self) -> None:
        super().close_plan()
        self.grid.focus()

    def show_preview(self, preview: Preview) -> None:
        """A picture of this session while it is denoised, in a tile behind the finished ones."""
        row = self._painting
        if row is None or self.gallery.folder != "dataset" or row.id != preview.job_id or preview.image_id in self.gallery.records:
            return
        try:
            with Image.open(io.BytesIO(preview.jpeg), formats=("JPEG",)) as opened:
                image = opened.convert("RGB")
        except (OSError, ValueError, SyntaxError):
            return
        self.pending = GridItem(preview.image_id, None, f"paints {preview.step} of {preview.num_steps}")
        self.show_shown()
        self.grid.preview(preview.image_id, image)

    def show_heading(self) -> None:
        """Counts and filter; how far the synthesis is."""
        text = self.gallery.heading() if self.session else NO_SESSION
        if self.gallery.group in self.groups:
            text += f" Near-duplicates {self.groups.index(self.gallery.group) + 1} of {len(self.groups)}; d: the next, esc: all."
        row = self._painting
        progress = self.view.progress.get(row.id) if row is not None else None
        reading = wording.reading(progress) if progress is not None else None
        heading = self.query_one("#dataset-heading", Static)
        said = Text(clean(f"{text} {reading.text}" if reading is not None else text), no_wrap=True, overflow="ellipsis")
        if heading.content != said:
            heading.update(said)

    def action_class_images(self) -> None:
        if not self.session:
            self.negtui.say(NO_SESSION)
            return
        self._begin(self.session, "class_images" if self.gallery.folder == "dataset" else "dataset")
        self.grid.focus()

    def go_back(self) -> bool:
        if super().go_back():
            return True
        is_elsewhere = self.gallery.folder != "dataset"
        if is_elsewhere:
            self.action_class_images()
        return is_elsewhere

    def _begin(self, session: str, folder: ImagesFolder) -> None:
        if (session, folder) == (self.gallery.session, self.gallery.folder) and self._is_loaded:
            return
        self.gallery = Gallery(session=session, folder=folder)
        self.pending, self._num_told, self._is_loaded, self._has_failed = None, {}, not session, False
        self.forget_duplicates()
        self._items.clear()
        self.remove_class("-full", "-planning")
        self.query_one("#dataset-empty", Static).update((NOTHING if folder == "dataset" else NO_CLASS_IMAGES) if session else NO_SESSION)
        self.show_shown()
        self.load_soon()

    def load_soon(self) -> None:
        if self.session:
            beside(self, partial(self._load, self.gallery), "load")

    async def _load(self, gallery: Gallery) -> None:
        """All pages, then what was told meanwhile; they replace what was there."""
        after = ""
        found: list[ImageRecord] = []
        while True:
            page = await self.negtui.ask(ListImages(session=gallery.session, folder=gallery.folder, after=after, limit=PAGE))
            if gallery is not self.gallery:
                return
            self._has_failed = not isinstance(page, Images)
            if not isinstance(page, Images):
                return
            found += page.images
            if page.is_last or not page.images:
                break
            after = page.images[-1].id
        self._is_loaded = True
        gallery.num_unlisted = len(page.unlisted)
        gallery.records = {record.id: record for record in found}
        gallery.take(self._saved(self.view, anew=True), self.view.marks.get((gallery.session, gallery.folder)))
        self.show_shown()

    def _take_told(self, view: View, changed: frozenset[str]) -> None:
        """New pictures, marks of others, pictures that are gone."""
        row = view.sessions.get(self.session) if self.gallery.folder == "dataset" else None
        has_lost = row is not None and row.num_images < len(self.gallery.records) and self._painting is None
        if changed == ALL or ("sessions" in changed and has_lost):
            self.load_soon()
        fresh = self._saved(view) if "images" in changed else []
        marks = view.marks.get((self.session, self.gallery.folder), {}) if fresh or "marks" in changed else {}
        news = {id: mark for id, mark in marks.items() if self.gallery.is_news(mark)}
        if fresh or news:
            self.gallery.take(fresh, news)
            self.show_shown()

    def _saved(self, view: View, anew: bool = False) -> list[ImageRecord]:
        """Pictures told since the last look (`anew`: of jobs that go on) that the gallery has not."""
        found: list[ImageRecord] = []
        for job_id, told in view.images.items():
            row = view.jobs.get(job_id)
            if row is not None and self._is_painter(row):
                if anew and row.state not in OPEN:
                    self._num_told[job_id] = len(told)
                fresh = told[0 if anew and row.state in OPEN else self._num_told.get(job_id, 0) :]
                found += [one.image for one in fresh if self._is_news(one.image)]
                self._num_told[job_id] = len(told)
        return found

    def _is_painter(self, row: JobRow) -> bool:
        """Whether a job paints pictures of this session and folder."""
        return row.spec.session == self.session and isinstance(row.spec, PAINTED_BY[self.gallery.folder])

    def _is_news(self, record: ImageRecord) -> bool:
        return record.id not in self.gallery.records and record.path.startswith(f"{self.gallery.folder}/")

    @property
    def _painting(self) -> JobRow | None:
        """The job at work on these pictures."""
        return next((row for row in self.view.jobs.values() if row.state == "running" and self._is_painter(row)), None)
