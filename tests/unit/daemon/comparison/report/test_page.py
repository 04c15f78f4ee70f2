"""The report holds everything, asks the network for nothing, and takes no markup from prompts."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from comparing import job, prepare
from counting import CountingScorer
from painting import Desk

from daemon.comparison.recipe import compare
from daemon.protocol.specs import PromptSpec

EVIL = '<script>alert(1)</script> "quoted" \' onerror=alert(1) {{ 7 * 7 }} {% raw %} </article></title><img src=x>'


class Reader(HTMLParser):
    """Collects tags, attributes and text; fails on tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.own: dict[str, str] = {"style": "", "script": ""}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.own:
            self.own[self.open[-1]] += data
        elif self.open:
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
    sources = [attributes["src"] or "" for tag, attributes in reader.tags if tag == "img" and "src" in attributes]
    assert len(sources) == 12
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not {tag for tag, _ in reader.tags} & {"link", "iframe", "object", "base"}
    assert not re.search(r"https?://|@import|url\(", html)


def test_what_was_diagnosed_is_drawn(tmp_path: Path) -> None:
    html, reader = report(tmp_path, diagnose_blocks=1)
    charts = [attributes for tag, attributes in reader.tags if tag == "svg" and attributes.get("class") == "chart"]
    assert len(charts) == 10
    assert html.count("data:image/png;base64,") == 5
    for said in ("the very same pictures, to the last bit", "guidance in square number 0, seed 0", "difference in square number 0, seed 0"):
        assert said in reader.text
    assert "denoising step" in reader.text
    assert 'href="#guidance"' in html
    assert 'href="#guidance"' not in report(tmp_path / "other")[0]


def test_its_policy_lets_only_its_own_script_and_style_run(tmp_path: Path) -> None:
    _, reader = report(tmp_path)
    (policy,) = [attributes["content"] or "" for tag, attributes in reader.tags if attributes.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name, text in reader.own.items():
        assert text
        assert f"{name}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert not [attributes for _, attributes in reader.tags if "style" in attributes or any(name.startswith("on") for name in attributes)]


def test_it_says_verdict_figures_settings_and_what_else_may_explain_it(tmp_path: Path) -> None:
    _, reader = report(tmp_path)
    wanted = ["Too few blocks for a verdict", "target against placebo", "flaw probability", "star number 3", "seed 3", "ba5e" * 16]
    wanted += ["zeroed embeddings", "both branches of classifier-free guidance", "refiner gets the arm's negative prompt"]
    for said in [*wanted, "negtui compare mine", 'LoRA wrong, negative "wrong"', '"num_inference_steps": 50']:
        assert said in reader.text, said
    assert "same single seed" not in reader.text


def test_a_prompt_s_markup_is_text(tmp_path: Path) -> None:
    html, reader = report(tmp_path, prompts=(PromptSpec(prompt=EVIL),))
    assert html.count("<script") == 1
    assert EVIL in reader.text
    assert not [attributes for tag, attributes in reader.tags if attributes.get("src") == "x"]
    assert next(attributes["alt"] for tag, attributes in reader.tags if tag == "img" and attributes["alt"]) == f"baseline: {EVIL}"


def test_many_blocks_are_shown_in_part_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.comparison.report.pictures.MAX_PICTURE_BYTES", 150)
    prompts = tuple(PromptSpec(prompt="one prompt", seed=seed) for seed in range(5))
    html, reader = report(tmp_path, prompts=prompts, width=8, height=8, arms=job().comparison.arms[:1])
    num_shown = html.count("<figure>")
    assert 1 <= num_shown < 5
    assert f"The first {num_shown} of 5 blocks" in reader.text
    assert "There is one prompt only" in reader.text
    assert "nothing is compared" in reader.text


def test_where_there_are_many_differences_those_of_the_look_are_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, few = report(tmp_path / "few")
    monkeypatch.setattr("daemon.comparison.report.page.MAX_OPEN_EFFECTS", 5)
    _, many = report(tmp_path / "many")
    for reader, is_open in ((few, True), (many, False)):
        (look, _) = [attributes for tag, attributes in reader.tags if tag == "details"]
        assert ("open" in look) == is_open
        assert "The look: sharpness" in reader.text


def test_blocks_know_how_much_better_the_target_is(tmp_path: Path) -> None:
    _, reader = report(tmp_path)
    gains = [float(attributes["data-gain"] or "") for _, attributes in reader.tags if "data-gain" in attributes]
    assert len(gains) == 4
    assert len(set(gains)) > 1
