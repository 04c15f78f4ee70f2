from __future__ import annotations

from negtui.curation import Decision, Filter, balance
from negtui.dataset import Gallery, balance_lines, caption, prompt_with_seed, short_caption, sign
from tests.curation_daemon import record


def gallery() -> Gallery:
    found = Gallery(session="toy")
    found.take(map(record, range(6)))
    found.arrange()
    return found


def test_the_heading_counts_and_names_the_filter() -> None:
    found = gallery()
    found.decide(Decision(("id0", "id1"), "keep"))
    found.filter = Filter(status="keep")
    found.selected = {"id0"}
    found.arrange()
    assert found.heading() == "toy: 6 pictures, 2 keep, 4 undecided. 2 shown: keep. 1 selected."


def test_filters_step_through_what_there_is() -> None:
    found = gallery()
    found.next_filter("keyword")
    found.next_filter("guidance_scale")
    found.next_filter("status")
    assert found.filter == Filter("blurry", 3.0, "undecided")


def test_a_mark_applies_to_the_selected_ones_or_the_one_at_the_cursor() -> None:
    found = gallery()
    assert found.chosen("id2") == ("id2",)
    assert found.chosen(None) == ()
    found.selected = {"id3", "id1"}
    assert found.chosen("id2") == ("id1", "id3")


def test_a_group_of_duplicates_is_shown_whatever_the_filter_is() -> None:
    found = gallery()
    found.filter = Filter(keyword="ugly")
    found.group = ("id1", "gone", "id0")
    found.arrange()
    assert [one.id for one in found.shown] == ["id1", "id0"]


def test_captions_are_clean_and_whole() -> None:
    odd = record(0, keyword="a\x1b[31m[b]\nb", tags=("hands",), status="reject")
    assert short_caption(odd) == "a[b]\nb 3 s0"
    lines = caption(odd)
    assert "\n" not in "".join(lines)
    assert "reject hands" in lines[0]
    assert sign(odd, True) == "*x"
    assert sign(record(0), False) == ""


def test_what_is_copied_can_be_painted_again() -> None:
    assert prompt_with_seed(record(1)).splitlines() == ["(blurry)++++, low", "Steps: 4, CFG scale: 4, Seed: 1, Size: 64x64"]


def test_the_balance_names_the_fewest_without_colour_and_fits() -> None:
    records = [record(0, status="keep"), record(1, status="reject"), record(2), record(3), record(4, keyword="k" * 90)]
    lines = balance_lines(balance(records))
    assert all(len(line) <= 39 for line in lines)
    assert lines[1].endswith("<")
    assert not lines[2].endswith("<")
    assert balance_lines([])[0].startswith("keyword")
