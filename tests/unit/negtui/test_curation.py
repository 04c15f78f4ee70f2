from __future__ import annotations

import random
from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from daemon.protocol.errors import NegError
from negtui import curation
from negtui.curation import Decision, Filter, History, mark_of
from tests.curation_daemon import painting, record

RECORDS = {one.id: one for one in map(record, range(6))}


def test_a_filter_combines_keyword_guidance_status_tag_and_words() -> None:
    tagged = record(0, tags=("hands",), status="keep")
    assert Filter("blurry", 3.0, "keep", "hands", "LOW blurry").admits(tagged)
    assert not Filter(keyword="ugly").admits(tagged)
    assert not Filter(guidance_scale=4.0).admits(tagged)
    assert not Filter(status="reject").admits(tagged)
    assert not Filter(tag="feet").admits(tagged)
    assert not Filter(text="low sharp").admits(tagged)
    assert Filter("blurry", 3.0, "keep").in_words() == "keyword blurry, guidance 3, keep"
    assert Filter().in_words() == ""


def test_the_order_is_as_painted_where_no_score_exists() -> None:
    assert [one.id for one in curation.arrange(RECORDS.values(), Filter(keyword="cropped"))] == ["id2", "id3"]


def test_not_bad_enough_comes_first_where_a_score_exists() -> None:
    scores = {"id0": 0.9, "id1": 0.1, "id3": 0.5}
    records = [msgspec.structs.replace(one, values={"badness": scores[id]} if id in scores else {}) for id, one in RECORDS.items()]
    assert [one.id for one in curation.arrange(records, Filter(), "not bad enough first")] == ["id1", "id3", "id0", "id2", "id4", "id5"]
    assert [one.id for one in curation.arrange(records, Filter())] == list(RECORDS)
    assert [one.id for one in curation.arrange(records, Filter(), "newest first")] == list(RECORDS)[::-1]


def test_of_an_aesthetic_score_the_lower_is_the_worse() -> None:
    records = [record(0, values={"aesthetic": 5.5}), record(1, values={"aesthetic": 3.0}), record(2, values={"adherence": 1.0})]
    assert [one.id for one in curation.arrange(records, Filter(), "not bad enough first")] == ["id0", "id1", "id2"]
    assert [curation.reading(one) for one in records] == [("aesthetic", 5.5), ("aesthetic", 3.0), None]


@given(st.lists(st.none() | st.floats(0.0, 1.0), max_size=20))
def test_thirds_hold_every_picture_that_was_read_and_no_other(scores: list[float | None]) -> None:
    records = [record(number, values={} if score is None else {"badness": score}) for number, score in enumerate(scores)]
    thirds = curation.thirds(records)
    held = {one.id for third in thirds for one in curation.arrange(records, Filter(score=third))}
    assert held == {one.id for one in records if one.values}
    assert [third.most for third in thirds] == sorted(third.most for third in thirds)
    assert len(thirds) == min(3, len(held))
    assert [third.words for third in thirds][-1:] == ["worst third"][: len(held)]


def test_balance_counts_per_keyword() -> None:
    records = [record(0, status="keep"), record(1, status="reject"), record(2), record(9, keyword=None)]
    found = curation.balance(records)
    assert [(one.keyword, one.num_keep, one.num_undecided, one.num_reject, one.num_used) for one in found] == [
        ("blurry", 1, 0, 1, 1),
        ("cropped", 0, 1, 0, 1),
        ("", 0, 1, 0, 1),
    ]


def test_cycling_goes_through_all_and_back_to_none() -> None:
    seen: list[str | None] = [None]
    for _ in range(3):
        seen.append(curation.cycle(["a", "b"], seen[-1]))
    assert seen == [None, "a", "b", None]
    assert curation.cycle(["a"], "gone") is None


decisions = st.builds(
    Decision,
    st.lists(st.sampled_from(sorted(RECORDS)), unique=True).map(tuple),
    st.sampled_from([None, "undecided", "keep", "reject"]),
    st.lists(st.sampled_from(["a", "b"]), unique=True).map(tuple),
    st.lists(st.sampled_from(["b", "c"]), unique=True).map(tuple),
)


@given(st.lists(decisions, max_size=8))
def test_undoing_everything_gives_back_what_was_and_redoing_what_came(made: list[Decision]) -> None:
    history, now = History(), dict(RECORDS)
    for decision in made:
        step = curation.step(decision, now)
        now = curation.marked(now, step.after)
        history.did(step)
    after = now
    while (step_back := history.undo()) is not None:
        now = curation.marked(now, step_back.before)
    assert now == RECORDS
    while (step_on := history.redo()) is not None:
        now = curation.marked(now, step_on.after)
    assert now == after


def test_a_new_decision_ends_what_could_be_redone() -> None:
    history = History()
    history.did(curation.step(Decision(("id0",), "keep"), RECORDS))
    history.undo()
    history.did(curation.step(Decision(("id1",), "keep"), RECORDS))
    assert history.redo() is None


def test_what_a_decision_leaves_as_it_is_does_not_count() -> None:
    step = curation.step(Decision(("id0", "id1", "gone"), "undecided"), RECORDS)
    assert step.before == step.after == ()


def test_tags_are_sorted_and_taken_off() -> None:
    mark = Decision(("id0",), add_tags=("b", "a"), remove_tags=("c",)).mark(record(0, tags=("c", "d")))
    assert mark.tags == ("a", "b", "d")
    assert curation.read_tags("Hands -blur hands") == (("hands",), ("blur",))
    with pytest.raises(NegError, match="is no tag"):
        curation.read_tags("b!d")


def test_marks_of_pictures_that_are_not_here_are_passed_over() -> None:
    assert curation.marked(RECORDS, [mark_of(record(99, status="keep"))]) == RECORDS


def test_a_moved_or_recompressed_picture_hashes_nearly_the_same_and_another_does_not() -> None:
    one = painting(1, 256)
    softened = one.filter(ImageFilter.GaussianBlur(2)).resize((200, 200), Image.Resampling.LANCZOS)
    near = (curation.difference_hash(one) ^ curation.difference_hash(softened)).bit_count()
    far = (curation.difference_hash(one) ^ curation.difference_hash(painting(2, 256))).bit_count()
    assert near <= curation.NEAR_BITS < far


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6), st.integers(0, 2**32))
def test_bands_find_what_comparing_all_would_find(values: list[int], seed: int) -> None:
    chance = random.Random(seed)
    flipped = [value ^ sum(1 << bit for bit in chance.sample(range(64), chance.randrange(9))) for value in values for _ in range(3)]
    hashes = {str(number): value for number, value in enumerate([*values, *flipped])}
    groups = curation.near_duplicates(hashes)
    firsts = [id for id in hashes if all(id not in group[1:] for group in groups)]
    for group in groups:
        assert all((hashes[group[0]] ^ hashes[id]).bit_count() <= curation.NEAR_BITS for id in group)
    for one, other in combinations(firsts, 2):
        assert (hashes[one] ^ hashes[other]).bit_count() > curation.NEAR_BITS


def test_groups_come_largest_first_in_the_order_of_the_pictures() -> None:
    far = 0xFFFF_FFFF_0000_0000
    hashes = {"a": 0, "b": far, "c": 1, "d": far, "e": 0, "f": 0x0F0F_0F0F_0F0F_0F0F}
    assert curation.near_duplicates(hashes) == [("a", "c", "e"), ("b", "d")]
