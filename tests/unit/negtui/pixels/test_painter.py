from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from PIL import Image

from negtui.pixels.base import Choice
from negtui.pixels.painter import Painter
from negtui.pixels.store import MAX_PIXELS, TerminalStore
from tests.fake_terminal import FakeTerminal, difference, in_loop
from tests.sample_pictures import typical

KITTY = Choice(backend="kitty", available=("kitty", "half", "off"))


class Line:
    """Writes to a terminal at once."""

    def __init__(self) -> None:
        self.terminal = FakeTerminal(60, 30)
        self.num_sent = 0

    def send(self, pieces: Sequence[bytes], wanted: Callable[[], bool], done: Callable[[bool], None]) -> None:
        self.num_sent += 1
        if wanted():
            self.terminal.feed(b"".join(pieces))
        done(wanted())


@in_loop
async def test_two_who_want_the_same_get_one() -> None:
    line, painter = Line(), Painter(KITTY)
    painter.connect(line)
    first, second = await asyncio.gather(*(painter.send_kitty("a", typical(512), 40, 20) for _ in range(2)))
    assert first is second
    assert first is not None
    assert line.num_sent == 1
    assert painter.is_shown(first)
    assert painter.last_bytes == painter.num_bytes == line.terminal.num_bytes
    assert painter.find_kitty("a", 40, 20) is first
    assert painter.find_kitty("b", 40, 20) is None


@in_loop
async def test_what_nobody_wants_any_more_is_not_sent() -> None:
    line, painter = Line(), Painter(KITTY)
    painter.connect(line)
    assert await painter.send_kitty("a", typical(512), 40, 20, lambda: False) is None
    assert line.terminal.images == {}
    assert painter.find_kitty("a", 40, 20) is None


@in_loop
async def test_what_the_terminal_need_not_keep_is_deleted() -> None:
    line, painter = Line(), Painter(KITTY)
    painter.connect(line)
    painter._store = TerminalStore(MAX_PIXELS // 2)
    for name in "abcd":
        await painter.send_kitty(name, Image.new("RGB", (8, 8)), 1, 1)
    assert len(line.terminal.images) <= 2


@in_loop
async def test_a_new_terminal_has_nothing_and_listeners_hear_of_it() -> None:
    heard: list[int] = []
    painter = Painter(KITTY)
    assert painter.backend == "half"
    end = painter.listen(lambda: heard.append(1))
    painter.connect(Line())
    assert painter.backend == "kitty"
    sent = await painter.send_kitty("a", Image.new("RGB", (8, 8)), 2, 1)
    painter.connect(Line())
    assert sent is not None
    assert not painter.is_shown(sent)
    end()
    end()
    painter.resend()
    assert heard == [1, 1]


@in_loop
async def test_bands_are_drawn_where_they_belong_and_the_cursor_goes_back() -> None:
    line, painter = Line(), Painter(Choice(backend="sixel", available=("sixel", "half", "off")))
    painter.connect(line)
    line.terminal.feed(b"\x1b[9;9H")
    assert painter.find_bands("a", 20, 10) == []
    found = await painter.sixel_bands("a", typical(512), 20, 10)
    assert painter.find_bands("a", 20, 10) is found
    painter.send_bands(found, 5, 3, lambda: True)
    assert (line.terminal.x, line.terminal.y) == (8, 8)
    assert difference(line.terminal.picture(5, 3, 20, 10), typical(512).resize((200, 200), Image.Resampling.LANCZOS)) < 6
    before = line.terminal.sixels
    painter.send_bands(found, 5, 3, lambda: False)
    assert line.terminal.sixels == before


@in_loop
async def test_leaving_frees_what_the_terminal_keeps() -> None:
    line, painter = Line(), Painter(KITTY)
    painter.connect(line)
    await painter.send_kitty("a", Image.new("RGB", (8, 8)), 2, 1)
    assert len(line.terminal.images) == 1
    line.terminal.feed(painter.leave().encode())
    assert line.terminal.images == {}
    assert painter.leave() == ""
