from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from textual.app import App, ComposeResult
from textual.widgets import Input

from daemon.protocol.training_spec import TrainingSpec
from negtui.widgets.spec_form import OptionRows, Remark, SpecForm
from tests.curation_daemon import in_loop
from tests.snapshots.screens import text_of


def judge(spec: Any) -> Mapping[str, Remark]:
    return {"use_dora": Remark("goes with lora only")} if spec.use_dora else {}


class Host(App[None]):
    """Keeps what is wished for, as a daemon would."""

    def __init__(self) -> None:
        super().__init__()
        self.form = SpecForm(TrainingSpec, judge)
        self.spec = TrainingSpec(rank=8)
        self.wishes: list[tuple[str, Any]] = []

    def compose(self) -> ComposeResult:
        yield self.form

    def on_mount(self) -> None:
        self.form.show(self.spec, is_editable=True)
        self.form.rows.focus()

    def on_spec_form_edited(self, message: SpecForm.Edited) -> None:
        self.wishes.append((message.option.name, message.value))
        self.spec = msgspec.structs.replace(self.spec, **{message.option.name: message.value})
        self.form.show(self.spec, is_editable=True)

    def line(self, name: str) -> str:
        return next(line for line in text_of(self).splitlines() if f" {name} " in line and not line.startswith(name))

    def go(self, name: str) -> None:
        rows = self.query_one(OptionRows)
        rows.go(next(place for place, row in enumerate(rows.rows) if getattr(row, "name", "") == name))
        self.form._explain()


@in_loop
async def test_values_defaults_and_meanings_are_shown() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.go("rank")
        await pilot.pause()
        assert app.line("rank").split() == [">*", "rank", "8"]
        assert app.line("peft_type").split() == ["peft_type", "lora"]
        text = text_of(app)
        assert "What is learned" in text
        assert "rank: a whole number, 1 to 1024. Default: 4." in text
        assert "its size and its reach" in text


@in_loop
async def test_a_bad_value_is_said_beside_its_field_and_stays_until_it_is_good() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.go("rank")
        await pilot.press("enter", "backspace", "0", "enter")
        await pilot.pause()
        assert app.line("rank").split(maxsplit=3) == [">!", "rank", "0", "must be a whole number, 1 to 1024"]
        assert (app.wishes, app.form.is_writing) == ([], True)
        await pilot.press("backspace", "1", "6", "enter")
        await pilot.pause()
        assert app.wishes == [("rank", 16)]
        assert app.line("rank").split() == [">*", "rank", "16"]
        assert app.focused is app.query_one(OptionRows)


@in_loop
async def test_escape_leaves_a_line_as_it_was() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.go("rank")
        await pilot.press("enter", "9")
        assert app.form.back()
        await pilot.pause()
        assert app.line("rank").split() == [">*", "rank", "8"]
        assert not app.form.back()
        assert app.wishes == []


@in_loop
async def test_switches_and_choices_go_on_without_writing_and_contradictions_are_said() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.go("peft_type")
        await pilot.press("right", "left", "left")
        app.go("use_dora")
        await pilot.press("space")
        await pilot.pause()
        assert app.wishes == [("peft_type", "loha"), ("peft_type", "lora"), ("peft_type", "lokr"), ("use_dora", True)]
        assert ">! use_dora" in app.line("use_dora")
        assert "goes with lora only" in app.line("use_dora")


@in_loop
async def test_default_and_undo() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.go("rank")
        await pilot.press("d")
        await pilot.press("u")
        await pilot.press("u")
        await pilot.pause()
        assert app.wishes == [("rank", 4), ("rank", 8)]


@in_loop
async def test_options_are_found_by_words_and_by_being_changed() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        assert app.form.rows.current is not None
        assert app.form.rows.current.name == "rank"
        await pilot.press("slash", *"held-out")
        names = [row.name for row in app.form.rows.rows if not isinstance(row, str)]
        assert names == ["validation_images", "validation_steps", "early_stopping"]
        await pilot.press("enter")
        assert app.form.back()
        assert len(app.form.rows.rows) > 60


@in_loop
async def test_a_refusal_stands_beside_its_field_until_something_changes() -> None:
    app = Host()
    async with app.run_test(size=(90, 24)) as pilot:
        app.form.refuse("seed", "the file is read-only\x1b[2J")
        await pilot.pause()
        assert app.line("seed").split(maxsplit=3) == ["!", "seed", "0", "the file is read-only"]
        app.form.show(msgspec.structs.replace(app.spec, rank=3), is_editable=True)
        await pilot.pause()
        assert app.line("seed").split() == ["seed", "0"]


@in_loop
async def test_what_may_not_be_edited_is_not() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.form.show(app.spec, is_editable=False, notice="Opened with --read-only.")
        app.go("use_dora")
        await pilot.press("space", "enter", "d", "u")
        app.go("rank")
        await pilot.press("enter")
        await pilot.pause()
        assert app.wishes == []
        assert not app.form.is_writing
        assert app.query_one(Input).value == ""
        assert "Opened with --read-only." in text_of(app)


@in_loop
async def test_markup_and_escapes_in_values_are_text() -> None:
    app = Host()
    async with app.run_test(size=(90, 24)) as pilot:
        app.form.show(TrainingSpec(instance_prompt="[red]x[/]\x1b]0;title\x07y"), is_editable=True)
        app.go("instance_prompt")
        await pilot.pause()
        assert app.line("instance_prompt").split() == [">*", "instance_prompt", "[red]x[/]y"]


@in_loop
async def test_every_option_can_be_reached_in_a_small_place() -> None:
    app = Host()
    async with app.run_test(size=(60, 14)) as pilot:
        await pilot.press("G")
        await pilot.pause()
        assert "report_to" in text_of(app)
        await pilot.press("g")
        await pilot.pause()
        assert "output_name" in text_of(app)


@in_loop
async def test_told_again_it_draws_nothing() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        drawn: list[int] = []
        rows = app.query_one(OptionRows)
        render = rows.render_line
        rows.render_line = lambda y: drawn.append(y) or render(y)  # type: ignore[method-assign,assignment,func-returns-value]
        app.form.show(app.spec, is_editable=True)
        await pilot.pause(0.1)
        assert drawn == []
        app.form.show(msgspec.structs.replace(app.spec, seed=5), is_editable=True)
        await pilot.pause(0.1)
        assert drawn
