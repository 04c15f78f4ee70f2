from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.widgets import Input

from daemon.protocol.commands import Plan
from daemon.protocol.errors import NegError
from daemon.protocol.specs import SynthesisSpec
from negtui.widgets import plan_pane
from negtui.widgets.plan_pane import LINES, Draft, PlanPane
from tests.curation_daemon import in_loop, press
from tests.fake_daemon import SPEC
from tests.snapshots.screens import text_of

PLAN = Plan(num_images=36, num_present=6, num_bytes=1_230_000, free_bytes=50_000_000_000, seconds=130.0)
words = st.text("abc xyz", min_size=1, max_size=9).map(lambda text: " ".join(text.split())).filter(bool)
specs = st.builds(
    SynthesisSpec,
    keywords=st.lists(words, min_size=1, max_size=4, unique=True).map(tuple),
    weights=st.lists(st.one_of(st.just("++++"), st.floats(0.5, 2.0).map(lambda x: round(x, 2))), min_size=1, max_size=3).map(tuple),
    guidance_scales=st.lists(st.integers(0, 200).map(lambda x: x / 2), min_size=1, max_size=4).map(tuple),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=9, unique=True).map(tuple),
    negative_prompt=st.one_of(st.none(), words),
)


def lines(**changed: str) -> dict[str, str]:
    assert SPEC.synthesis is not None
    found = {name: "" for name, _, _ in LINES} | plan_pane.texts(SPEC.synthesis)
    return {**found, **changed}


@given(specs)
def test_a_spec_written_into_the_lines_and_read_back_is_the_same(spec: SynthesisSpec) -> None:
    draft = plan_pane.read({name: "" for name, _, _ in LINES} | plan_pane.texts(spec))
    assert draft.changes(spec) == {}
    assert draft.num_images == len(spec.keywords) * len(spec.weights) * len(spec.guidance_scales) * len(spec.seeds)


def test_what_differs_is_changed_as_toml() -> None:
    draft = plan_pane.read(lines(keywords='a "b", c', seeds="0-2, 9", weights="1.4, ++", negative_prompt="x"))
    assert draft.changes(SPEC.synthesis) == {
        "synthesis.keywords": '["a \\"b\\"", "c"]',
        "synthesis.seeds": "[0, 1, 2, 9]",
        "synthesis.weights": '[1.4, "++"]',
        "synthesis.negative_prompt": '"x"',
    }
    spec = msgspec.structs.replace(SPEC.synthesis, negative_prompt="x")
    assert plan_pane.read(lines()).changes(spec) == {"synthesis.negative_prompt": "none"}


def test_without_a_section_everything_is_written() -> None:
    assert set(plan_pane.read(lines()).changes(None)) >= {"synthesis.keywords", "synthesis.width", "synthesis.seeds"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("keywords", " , ", "keywords"),
        ("guidance_scales", "8, x", "guidance: 'x' is not a number"),
        ("guidance_scales", "200", "guidance_scales"),
        ("seeds", "9-1", "no range"),
        ("seeds", "0-99999", "no range"),
        ("size", "64", "size"),
        ("size", "63 x 64", "width"),
        ("num_inference_steps", "0", "num_inference_steps"),
    ],
)
def test_what_cannot_be_is_said_with_its_line(name: str, text: str, said: str) -> None:
    with pytest.raises(NegError, match=said):
        plan_pane.read(lines(**{name: text}))


def test_what_it_takes_is_said_in_words() -> None:
    draft = Draft({"keywords": ("a", "b"), "weights": (1,), "guidance_scales": (1, 2), "seeds": (0,)})
    assert plan_pane.in_words(draft, None) == "4 pictures"
    assert plan_pane.in_words(draft, PLAN) == "36 pictures, 30 to paint, about 2 min 10 s, 1.2 MB of 50.0 GB free"
    unknown = msgspec.structs.replace(PLAN, seconds=None)
    assert "time unknown" in plan_pane.in_words(draft, unknown)


class Small(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def compose(self) -> ComposeResult:
        yield PlanPane()

    def on_plan_pane_edited(self, event: PlanPane.Edited) -> None:
        self.told.append(("edited", event.draft.num_images))

    def on_plan_pane_saved(self, event: PlanPane.Saved) -> None:
        self.told.append("saved")

    def on_plan_pane_started(self, event: PlanPane.Started) -> None:
        self.told.append("started")

    def on_plan_pane_closed(self, event: PlanPane.Closed) -> None:
        self.told.append("closed")


@in_loop
async def test_keys_save_start_and_leave() -> None:
    app = Small()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.query_one(PlanPane)
        pane.open(SPEC.synthesis)
        await press(pilot, *", c")
        assert app.told[-1] == ("edited", 3)
        assert pane.draft is not None
        pane.show_plan(pane.draft, PLAN)
        await pilot.pause()
        assert "30 to paint" in text_of(app)
        await press(pilot, "enter", "ctrl+s", "escape")
        assert app.told[-3:] == ["saved", "started", "closed"]


@in_loop
async def test_an_answer_for_other_lines_is_passed_over_and_bad_lines_are_not_sent() -> None:
    app = Small()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.query_one(PlanPane)
        pane.open(SPEC.synthesis)
        old = pane.draft
        assert old is not None
        await press(pilot, *", c")
        pane.show_plan(old, PLAN)
        await pilot.pause()
        assert "30 to paint" not in text_of(app)
        app.query_one("#plan-size", Input).value = "x"
        await pilot.pause()
        app.told.clear()
        await press(pilot, "enter", "ctrl+s")
        assert app.told == []
        assert "size" in text_of(app)
