"""A daemon of scripts with pictures and a comparison, for the screens that show them."""

from __future__ import annotations

import asyncio
import functools
import io
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from PIL import Image
from textual.app import App
from textual.pilot import Pilot

from daemon.protocol.commands import (
    AnyCommand,
    AnyResult,
    ChangeSession,
    ComparedArm,
    ComparedBlock,
    ComparedCell,
    ComparisonAnswer,
    CreateSession,
    DeleteSession,
    DuplicateSession,
    Images,
    ListImages,
    Marked,
    MarkImages,
    Plan,
    PlanSynthesis,
    ReadComparison,
    RestoreMarks,
    SessionAnswer,
    SessionDeleted,
    SessionRow,
)
from daemon.protocol.events import ImagesFolder, Mark
from daemon.protocol.specs import ImageRecord, ImageRequest
from negtui.curation import Decision, mark_of, marked
from tests.fake_client import FakeClient
from tests.fake_daemon import EFFECT, FakeDaemon

KEYWORDS = ("blurry", "cropped", "ugly")
GUIDANCE = (3.0, 4.0)
ARMS = ("baseline", "placebo", "target")


def record(number: int, **fields: object) -> ImageRecord:
    """A picture: keyword by keyword, two guidance scales each."""
    keyword = KEYWORDS[number // 2 % len(KEYWORDS)]
    request = ImageRequest(
        base_sha256="b",
        torch_dtype="float32",
        prompt=f"({keyword})++++, low",
        seed=number,
        guidance_scale=GUIDANCE[number % 2],
        num_inference_steps=4,
        width=64,
        height=64,
    )
    plain: dict[str, object] = {
        "id": f"id{number}",
        "path": f"dataset/id{number}.png",
        "sha256": "0",
        "request": request,
        "keyword": keyword,
    }
    return ImageRecord(**{**plain, **fields})  # type: ignore[arg-type]


def painting(seed: int, side: int = 64) -> Image.Image:
    """A picture of its own for every seed: a few large patches."""
    chance = random.Random(seed)
    patches = Image.frombytes("RGB", (8, 8), chance.randbytes(8 * 8 * 3))
    return patches.resize((side, side), Image.Resampling.NEAREST)


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


class CurationDaemon(FakeDaemon):
    """Two pages of pictures, so that paging is walked; a comparison of three arms."""

    def __init__(self, num_images: int = 6, num_blocks: int = 3) -> None:
        super().__init__()
        self.records = {one.id: one for one in map(record, range(num_images))}
        self.class_records: dict[str, ImageRecord] = {}
        self.unlisted: tuple[str, ...] = ()
        self.num_blocks = num_blocks
        self.changed: list[dict[str, str]] = []

    async def request(self, command: AnyCommand) -> AnyResult:
        match command:
            case ListImages():
                return self._page(command)
            case MarkImages():
                decision = Decision(command.ids, command.status, command.add_tags, command.remove_tags)
                return self._mark(command.folder, tuple(decision.mark(self._of(command.folder)[id]) for id in command.ids))
            case RestoreMarks():
                return self._mark(command.folder, tuple(Mark(id=one.id, status=one.status, tags=one.tags) for one in command.marks))
            case PlanSynthesis():
                return Plan(num_images=4, num_present=1, num_bytes=40_000, free_bytes=5_000_000_000, seconds=130.0)
            case ReadComparison():
                return self._comparison(command)
            case ChangeSession():
                self.changed.append(dict(command.changes))
            case CreateSession() | DuplicateSession():
                self.asked.append(command)
                name = command.name if isinstance(command, CreateSession) else command.new_name
                return SessionAnswer(name=name, path=f"/w/sessions/{name}", spec=self.spec, warnings=self.warnings)
            case DeleteSession():
                self.asked.append(command)
                return SessionDeleted(name=command.name, num_bytes=10)
            case _:
                return await super().request(command)
        self.asked.append(command)
        return SessionAnswer(name=command.name, path=f"/w/sessions/{command.name}", spec=self.spec)

    def _page(self, command: ListImages) -> Images:
        every = list(self._of(command.folder).values())
        start = next((at + 1 for at, one in enumerate(every) if one.id == command.after), 0)
        page = every[start : start + 4]
        return Images(images=tuple(page), total=len(every), is_last=start + 4 >= len(every), unlisted=self.unlisted)

    def _of(self, folder: ImagesFolder) -> dict[str, ImageRecord]:
        return self.records if folder == "dataset" else self.class_records

    def _mark(self, folder: ImagesFolder, marks: tuple[Mark, ...]) -> Marked:
        records = self._of(folder)
        before = tuple(mark_of(records[one.id]) for one in marks)
        records.update(marked(records, marks))
        return Marked(marks=marks, before=before)

    def _comparison(self, command: ReadComparison) -> ComparisonAnswer:
        self.asked.append(command)
        return ComparisonAnswer(
            session=command.session,
            name=command.name,
            arms=tuple(ComparedArm(name=name, negative_prompt=None if name == "baseline" else "wrong") for name in ARMS),
            blocks=tuple(self._block(index) for index in range(command.after_block, min(self.num_blocks, command.after_block + 2))),
            num_blocks=self.num_blocks,
            effects=(EFFECT,),
            verdict="The target \x1b[2Jbeats the [b]baseline[/b].",
            report_path=f"comparisons/{command.name}/report.html",
            sheet_paths=(f"comparisons/{command.name}/sheet.png",),
        )

    def _block(self, index: int) -> ComparedBlock:
        cells = []
        for number, arm in enumerate(ARMS):
            own = record(10 * index + number)
            own = msgspec.structs.replace(own, path=f"comparisons/images/{index}-{arm}.png", arm=arm)
            cells.append(ComparedCell(image=own, values={"flaw_probability": 0.1 * number}))
        return ComparedBlock(index=index, prompt=f"a star [{index}]\x1b[31m", seed=index, cells=tuple(cells))


def client(daemon: CurationDaemon | None = None, sessions: tuple[SessionRow, ...] | None = None) -> FakeClient:
    """A client of it, with every picture as a file."""
    found = FakeClient(daemon or CurationDaemon(), sessions)
    assert isinstance(found.daemon, CurationDaemon)
    for one in (*found.daemon.records.values(), *found.daemon.class_records.values()):
        found.files["toy", one.path] = png(painting(one.request.seed))
    for index in range(found.daemon.num_blocks):
        for number, arm in enumerate(ARMS):
            found.files["toy", f"comparisons/images/{index}-{arm}.png"] = png(painting(index + number))
    return found


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys and let what they set going happen."""
    await pilot.press(*keys)
    await pilot.pause(0.1)


def told(app: App[Any]) -> str:
    """What the toasts say."""
    return "\n".join(notification.message for notification in app._notifications)
