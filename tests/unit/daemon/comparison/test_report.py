"""The report holds everything, asks the network for nothing, and takes no markup from prompts."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from comparing import CountingScorer, job, prepare
from painting import Desk

from daemon.comparison.recipe import compare
from daemon.comparison.report import effect_bars
from daemon.protocol.events import Effect
from daemon.protocol.specs import PromptSpec


class Reader(HTMLParser):
    """Collects tags, attributes and text; fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> CountingScorer:
    return CountingScorer().install(monkeypatch)


def report(folder: Path, **changes: object) -> tuple[str, Reader]:
    *_, saved = compare(job(**changes), Desk(prepare(folder)).context)
    html = (folder / saved.report_path).read_text("utf-8")
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return html, reader


def test_it_is_whole_by_itself(tmp_path: Path) -> None:
    html, reader = report(tmp_path)
    sources = [attributes["src"] or "" for tag, attributes in reader.tags if tag == "img"]
    assert len(sources) == 12
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "iframe"}
    assert not re.search(r"https?://|@import|url\(", html)


def test_it_says_verdict_figures_settings_and_what_else_may_explain_it(tmp_path: Path) -> None:
    _, reader = report(tmp_path)
    wanted = ["Too few blocks for a verdict", "target against placebo", "flaw_probability", "star number 3", "seed 3", "ba5e" * 16]
    wanted += ["zeroed embeddings", "both branches of classifier-free guidance", "refiner gets the arm's negative prompt"]
    for said in [*wanted, "negtui compare mine", 'LoRA wrong, negative "wrong"']:
        assert said in reader.text, said
    assert "same single seed" not in reader.text


def test_a_prompt_s_markup_is_text(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script> "quoted" \' onerror=alert(1) {{ 7 * 7 }} {% raw %}'
    html, reader = report(tmp_path, prompts=(PromptSpec(prompt=evil),))
    assert "<script" not in html
    assert evil in reader.text
    assert next(attributes["alt"] for tag, attributes in reader.tags if tag == "img") == f"baseline: {evil}"


def test_many_blocks_are_shown_in_part_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.comparison.report.MAX_BLOCKS_SHOWN", 3)
    prompts = tuple(PromptSpec(prompt="one prompt", seed=seed) for seed in range(5))
    html, reader = report(tmp_path, prompts=prompts, width=8, height=8, arms=job().comparison.arms[:1])
    assert html.count("<img ") == 3
    assert "The first 3 of 5 blocks" in reader.text
    assert "There is one prompt only" in reader.text
    assert "nothing is compared" in reader.text


def test_bars_share_an_axis_that_holds_zero() -> None:
    def effect(low: float, high: float, metric: str = "contrast") -> Effect:
        middle = (low + high) / 2
        return Effect(
            metric=metric,
            arm="a",
            against="b",
            mean=0,
            mean_against=0,
            difference=middle,
            low=low,
            high=high,
            confidence=0.95,
            num_blocks=9,
        )

    one, two, alone = effect_bars([effect(1.0, 2.0), effect(-1.0, 1.0), effect(0.0, 0.0, "sharpness")])
    assert one.zero == two.zero
    assert 0 < two.low < two.zero < one.low == two.high < one.high < 100
    assert alone.low == alone.zero == alone.high
