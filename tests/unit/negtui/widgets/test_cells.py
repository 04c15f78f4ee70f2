from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult

from negtui.widgets.cells import CellWidget, cells
from tests.curation_daemon import in_loop


class Host(App[None]):
    CSS = "CellWidget { height: 2; }"

    def compose(self) -> ComposeResult:
        yield CellWidget()


@in_loop
async def test_only_what_changed_is_sent_and_cut_out_of_its_row() -> None:
    app: Any = Host()
    async with app.run_test(size=(20, 4)):
        widget = app.query_one(CellWidget)
        widget.paint([cells("step 10 of 90", 0), cells("still", 0)])
        assert widget.num_cells_sent == 18
        widget.paint([cells("step 11 of 90", 0), cells("still", 0)])
        assert widget.num_cells_sent == 19
        assert [segment.text for segment in widget.render_line(0)][:3] == ["step 1", "1", " of 90"]
        widget.paint([cells("step 11 of 90", 0), cells("still", 0)])
        assert widget.num_cells_sent == 19
        assert widget.text == "step 11 of 90\nstill"


@in_loop
async def test_a_shorter_row_blanks_what_it_leaves() -> None:
    app: Any = Host()
    async with app.run_test(size=(20, 4)):
        widget = app.query_one(CellWidget)
        widget.paint([cells("longer", 0)])
        widget.paint([cells("long", 0)])
        assert widget.num_cells_sent == 8
        assert "".join(segment.text for segment in widget.render_line(0)) == "long".ljust(20)
