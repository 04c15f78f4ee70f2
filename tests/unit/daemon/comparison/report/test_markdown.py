"""The Markdown twin: the same figures, and no prompt or name that becomes markup."""

from dataclasses import replace

from found import ARMS, findings
from hypothesis import given
from hypothesis import strategies as st

from daemon.comparison.report.markdown import escape, render_markdown


def test_it_says_the_same() -> None:
    text = render_markdown(findings(), ["sheet.png", "sheet-2.png"])
    assert "**target beats the placebo**: flaw probability 0.100 against 0.300, -0.200 \\[-0.300, -0.100\\]" in text
    assert "| flaw\\_probability | target | placebo | 0.100, 0.300 | -0.200 | -0.300 to -0.100 | 2 | better |" in text
    assert "![sheet-2.png](sheet-2.png)" in text
    assert "| base sha256 | " + "ba5e" * 16 in text
    assert "`negtui compare mine`" in text


def test_a_table_keeps_its_columns() -> None:
    text = render_markdown(replace(findings(), arms=(*ARMS[:2], replace(ARMS[2], title="a | b\n| c |"))), [])
    (row,) = [line for line in text.splitlines() if line.startswith("| target |")]
    assert row.startswith("| target | a \\| b \\| c \\| | ")


@given(st.text(max_size=80))
def test_escaped_text_is_one_line_of_text(text: str) -> None:
    said = escape(text)
    assert len(said.splitlines()) <= 1
    unescaped = said.replace("\\\\", "")
    assert all(unescaped[at - 1] == "\\" for at, character in enumerate(unescaped) if character in "`*_[]<>|#")
