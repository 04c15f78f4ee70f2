"""Whatever prompts, names, errors and logs hold, on every screen: nothing of it steers the terminal, nothing is taken for markup."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from daemon.protocol.commands import AnyCommand, AnyResult, SessionRow
from daemon.protocol.errors import ErrorDetail
from daemon.protocol.events import Gauges, JobRow, Logged, MetricsRecorded, ResidentPart, Residents, StepProgress, WorkerChanged
from negtui.app import NegtuiApp
from tests.curation_daemon import CurationDaemon, client, in_loop, press
from tests.fake_client import FakeClient
from tests.fake_daemon import JOBS
from tests.fake_terminal import FakeTerminal, WindowDriver
from tests.training_daemon import samples

PAYLOADS = {
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "title": "\x1b]0;owned\x1b\\",
    "link": "\x1b]8;;https://evil.example\x07here\x1b]8;;\x07",
    "device": "\x1bP+q544e\x1b\\",
    "kitty": "\x1b_Ga=d,d=A\x1b\\",
    "clear": "\x1b[2J\x1b[H",
    "report": "\x1b[6n\x1b[21t",
    "eight bits": "\x9b2J\x9d52;c;ZXZpbA==\x9c\x90q\x9c",
    "bells": "\x07\x08\x0e\x0f\x7f\x00",
    "direction": "\u202egnp.\u202c\u2066x\u2069\u200f",
    "unfinished": "\x1b]52;c;ZXZpbA==",
}
MARKUP = "[link=https://evil.example]m[/link] [@click=app.quit]q[/] [bold]b"
RIGHT_TO_LEFT = "שלום 日本"
POINTER = re.compile(rb"\x1b\]22;[a-z-]*\x07")
"""Textual's own: the shape of the mouse pointer."""
FORBIDDEN = (b"\x1b]52", b"\x1b]0;", b"\x1b]8;", b"\x1bP", b"\x1b_", b"\x1b[6n", b"\x1b[21t", b"\x07", b"\x08", b"\x00", b"\x7f")
HIDDEN = "\u202e\u202c\u2066\u2069\u200f\x9b\x9d\x9c\x90"
KEYS = {
    "1": ("down", "enter"),
    "2": ("a", "t", "escape", "w", "enter", "escape", "e", "escape"),
    "3": ("tab", "right", "tab", "enter", "escape", "tab", "slash", "escape"),
    "4": ("e", "enter", "d", "escape", "escape", "escape"),
    "5": ("down", "enter", "w", "escape", "slash", "escape"),
    "6": (),
}
"""What is pressed on each screen, so that captions, forms, figures and logs are shown too."""


class Recorder(FakeTerminal):
    """Keeps the bytes as they came, and obeys none."""

    raw = b""

    def feed(self, content: bytes) -> None:
        self.raw += POINTER.sub(b"", content)

    def found(self) -> list[str]:
        """What got through."""
        shown = self.raw.decode("utf-8")
        found = [sequence for sequence in (*FORBIDDEN, *(hidden.encode() for hidden in HIDDEN)) if sequence in self.raw]
        return [f"{sequence!r} in {shown[max(0, at - 60) : at + 60]!r}" for sequence in found if (at := shown.find(sequence.decode())) >= 0]


class Hostile(CurationDaemon):
    """Refuses with the text what it does not know."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.warnings = (text,)
        for id, one in self.records.items():
            request = msgspec.structs.replace(one.request, prompt=text)
            self.records[id] = msgspec.structs.replace(one, request=request, keyword=text, tags=(text,))

    async def request(self, command: AnyCommand) -> AnyResult:
        answer = await super().request(command)
        found: Any = answer
        if type(answer).__name__ == "ComparisonAnswer":
            blocks = tuple(msgspec.structs.replace(block, prompt=self.text) for block in found.blocks)
            arms = tuple(msgspec.structs.replace(arm, name=f"{arm.name}{self.text}") for arm in found.arms)
            effects = tuple(msgspec.structs.replace(one, metric=self.text) for one in found.effects)
            return msgspec.structs.replace(found, blocks=blocks, arms=arms, effects=effects, verdict=self.text)
        return answer


def hostile_client(text: str) -> tuple[FakeClient, JobRow]:
    daemon = Hostile(text)
    row = daemon.add(JOBS["train"], "running", id="one", reason=text)
    error = ErrorDetail(code="internal", message=text, hint=text)
    daemon.add(JOBS["compare"], "failed", id="two", error=error)
    daemon.log = [Logged(job_id="one", level="warning", message=text)]
    sessions = (
        SessionRow(name="toy", description=text, num_images=6, adapters=(text,), comparisons=("default",)),
        SessionRow(name="broken", error=text),
    )
    return client(daemon, sessions), row


def events(row: JobRow, text: str) -> list[Any]:
    return [
        StepProgress(job_id=row.id, phase=text, step=1, num_steps=4),
        MetricsRecorded(job_id=row.id, steps=(1, 2), values={text: (1.0, 2.0), "loss": (1.0, 2.0)}),
        samples(row, 2, (text,)),
        Gauges(device=text, memory_used=1, memory_total=2),
        Residents(worker=text, parts=(ResidentPart(name=text, kind="base", num_bytes=9, device=text, dtype=text),), doing=text),
        WorkerChanged(worker=text, state="lost", message=text),
        Logged(job_id=row.id, level="error", message=text),
    ]


async def walk(text: str) -> Recorder:
    """All six screens with `text` wherever the daemon tells text; what the terminal got."""
    fake, row = hostile_client(text)
    terminal = Recorder(120, 40)
    app = NegtuiApp(fake.connect, driver_class=WindowDriver.of(terminal))
    async with app.run_test(headless=False, notifications=True) as pilot:
        await pilot.pause(0.3)
        app.current_session = "toy"
        for number, keys in KEYS.items():
            await press(pilot, number)
            fake.tell(*events(row, text))
            app.say(text)
            await press(pilot, *keys)
            assert app.screen_in_front is not None
            assert str(app.screen_in_front.number) == number
            assert app.fault is None
            assert terminal.found() == [], f"on screen {number}"
    return terminal


@pytest.mark.parametrize("name", ["all", "unfinished"])
@in_loop
async def test_nothing_that_was_told_steers_the_terminal(name: str) -> None:
    text = "".join(f"{payload}k" for payload in PAYLOADS.values()) if name == "all" else PAYLOADS[name]
    assert (await walk(text)).raw


@in_loop
async def test_markup_stands_as_it_was_written_and_wide_letters_keep_their_rows() -> None:
    terminal = await walk(f"{MARKUP} {RIGHT_TO_LEFT}")
    assert b"\x1b]8;" not in terminal.raw
    assert "[link=https://evil.example]m[/link]" in terminal.raw.decode("utf-8")
    assert RIGHT_TO_LEFT.split()[0] in terminal.raw.decode("utf-8")
