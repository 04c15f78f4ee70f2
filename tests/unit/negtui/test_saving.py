"""A comparison's files come here, wherever its daemon runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.protocol.commands import ComparisonAnswer
from daemon.protocol.errors import NegError
from negtui.saving import save_results

ANSWER = ComparisonAnswer(
    session="toy",
    name="default",
    arms=(),
    blocks=(),
    num_blocks=0,
    effects=(),
    verdict="",
    report_path="comparisons/default/report.html",
    sheet_paths=("comparisons/default/sheet.png", "comparisons/default/sheet-2.png"),
)


def save(folder: Path, answer: ComparisonAnswer = ANSWER, missing: str = "") -> list[Path]:
    async def fetch(session: str, path: str) -> bytes:
        if path.endswith(missing or "?"):
            raise NegError("not_found", f"There is no {path}.")
        return f"{session} {path}".encode()

    return asyncio.run(save_results(fetch, answer, folder))


def test_all_of_it_lies_in_one_folder(tmp_path: Path) -> None:
    saved = save(tmp_path)
    assert [path.name for path in saved] == ["report.html", "sheet.png", "sheet-2.png", "report.md", "metrics.csv", "cells.json"]
    assert {path.name for path in (tmp_path / "toy-default").iterdir()} == {path.name for path in saved}
    assert saved[0].read_text() == "toy comparisons/default/report.html"
    save(tmp_path)
    assert len(list((tmp_path / "toy-default").iterdir())) == 6


def test_an_older_comparison_may_lack_a_table_but_not_its_report(tmp_path: Path) -> None:
    assert len(save(tmp_path, missing="cells.json")) == 5
    for missing in ("report.html", "sheet-2.png"):
        with pytest.raises(NegError):
            save(tmp_path, missing=missing)


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NegError) as refused:
        save(tmp_path / "file")
    assert refused.value.detail.code == "invalid"
