"""The report in a browser without a network: nothing is asked for, nothing complains, and everything can be done by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from comparing import job, prepare
from counting import CountingScorer
from painting import Desk
from test_page import EVIL

from daemon.comparison.recipe import compare
from daemon.protocol.specs import PromptSpec
from tests.browser import CHROMIUM, Page, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

PROMPTS = (*(PromptSpec(prompt=f"star number {number}", seed=number) for number in range(5)), PromptSpec(prompt=EVIL, seed=5))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as monkeypatch:
        CountingScorer().install(monkeypatch)
        *_, saved = compare(job(prompts=PROMPTS, width=32, height=32), Desk(prepare(folder)).context)
    with browser(tmp_path_factory.mktemp("profile")) as page:
        page.open(folder / saved.report_path)
        yield page
        assert page.complaints == []
        assert page.requests == []


def current(page: Page) -> str | None:
    return page.value("document.querySelector('.current')?.dataset.prompt ?? null")


def seen(page: Page) -> list[str]:
    """The arms in the viewer: the pinned one where the slider is, then the one in front; nothing while it is closed."""
    return page.value(
        "document.querySelector('#viewer').open ? [...document.querySelectorAll('.tag')].filter(tag => tag.checkVisibility())"
        ".map(tag => tag.textContent) : []"
    )


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.press(key)


def test_arrows_move_between_blocks(page: Page) -> None:
    press(page, "Home")
    assert current(page) == "star number 0"
    press(page, "ArrowRight", "j", "ArrowLeft")
    assert current(page) == "star number 1"
    press(page, "End")
    assert current(page) == EVIL
    press(page, "ArrowRight")
    assert current(page) == EVIL


def test_space_flicks_the_arms_in_one_place_and_escape_closes(page: Page) -> None:
    press(page, "Home", " ")
    assert seen(page) == ["target"]
    place = page.value("JSON.stringify(document.querySelector('#over').getBoundingClientRect())")
    sources = []
    for arm in ("baseline", "placebo", "target"):
        press(page, " ")
        assert seen(page) == [arm]
        sources.append(page.value("document.querySelector('#over').src"))
        assert page.value("JSON.stringify(document.querySelector('#over').getBoundingClientRect())") == place
    assert len(set(sources)) == 3
    press(page, "ArrowRight")
    assert page.value("document.querySelector('#viewer-prompt').textContent") == "star number 1 (seed 1)"
    press(page, "2")
    assert seen(page) == ["placebo"]
    press(page, "Escape")
    assert seen(page) == []
    assert current(page) == "star number 1"


def test_the_slider_lies_between_the_pinned_arm_and_the_other(page: Page) -> None:
    press(page, "3", "s")
    assert seen(page) == ["placebo", "target"]
    before = page.value("getComputedStyle(document.querySelector('#over')).clipPath")
    press(page, ".", ".")
    assert page.value("document.querySelector('#range').value") == "60"
    assert page.value("getComputedStyle(document.querySelector('#over')).clipPath") != before
    press(page, "1", "p", "3")
    assert seen(page) == ["baseline", "target"]
    press(page, "s")
    assert seen(page) == ["target"]
    press(page, "Escape")


def test_question_mark_tells_the_keys(page: Page) -> None:
    press(page, "?")
    assert page.value("document.querySelector('#keys').open") is True
    press(page, "?")
    assert page.value("document.querySelector('#keys').open") is False


def test_blocks_are_found_by_words_and_ordered_by_gain(page: Page) -> None:
    press(page, "/")
    for letter in "number 3":
        page.press(letter)
    assert page.value("document.querySelectorAll('.block:not([hidden])').length") == 1
    assert page.value("document.querySelector('#count').textContent") == "1 of 6 blocks"
    page.value("document.querySelector('#words').value = ''; document.querySelector('#words').dispatchEvent(new Event('input'))")
    press(page, "Escape")
    page.value("document.querySelector('#order').value = 'best'; document.querySelector('#order').dispatchEvent(new Event('change'))")
    gains = page.value("[...document.querySelectorAll('.block')].map(block => Number(block.dataset.gain))")
    assert gains == sorted(gains, reverse=True)


def test_every_picture_is_decoded_and_a_prompt_did_nothing(page: Page) -> None:
    assert page.value("Promise.all([...document.querySelectorAll('figure img')].map(one => one.decode())).then(all => all.length)") == 18
    assert page.value("document.querySelectorAll('script').length") == 1
    assert page.value("document.title").startswith("target ")


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_in_light_and_dark(page: Page, tmp_path: Path, dark: bool) -> None:
    page.screenshot(tmp_path / "page.png", dark=dark)
    ink, paper = (
        page.value(f"getComputedStyle(document.body).{name}.match(/[0-9]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0)")
        for name in ("color", "backgroundColor")
    )
    assert (paper - ink < -500) if dark else (paper - ink > 500)


def test_it_can_be_printed(page: Page) -> None:
    assert page.pdf().startswith(b"%PDF")
