from __future__ import annotations

from negtui.pixels import store
from negtui.pixels.store import TerminalStore, new_id


def test_a_picture_is_found_where_it_was_sent_for() -> None:
    known = TerminalStore(200)
    sent = known.add("a", 60, 30)
    assert known.find("a", 60, 30) == (sent, False)
    assert known.find("b", 60, 30) is None
    known.forget()
    assert known.find("a", 60, 30) is None
    assert not known.has(sent)


def test_another_place_is_served_by_what_nobody_shows() -> None:
    known = TerminalStore(200)
    sent = known.add("a", 60, 30)
    sent.num_users = 1
    assert known.find("a", 40, 20) is None
    sent.num_users = 0
    assert known.find("a", 40, 20) == (sent, True)
    assert known.find("a", 80, 40) == (sent, True)
    assert known.find("a", 100, 50) is None


def test_the_oldest_that_nobody_shows_is_given_up() -> None:
    known = TerminalStore(200)
    cells = store.MAX_PIXELS // 200
    first, second, third = (known.add(name, cells // 2, 1) for name in "abc")
    first.num_users = 1
    assert known.too_many() == [second]
    assert known.has(first)
    assert known.has(third)
    assert len(known) == 2


def test_ids_differ_and_are_24_bit_colours() -> None:
    known = TerminalStore(200, first_id=0xFFFFFE)
    ids = [known.add(number, 1, 1).id for number in range(4)]
    assert len(set(ids)) == 4
    assert all(0 < id <= 0xFFFFFF for id in ids)
    assert all(1 << 16 <= new_id() <= 0xFFFFFF for _ in range(100))
