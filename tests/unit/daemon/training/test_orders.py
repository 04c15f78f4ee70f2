"""The journal of orders: durable before they act, replayed at their steps, and a crash at any moment leaves it readable."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.errors import NegError
from daemon.protocol.orders import Checkpoint, DecisiveOrder, LearningRate, Sample, StopAndKeep
from daemon.training.orders import FILE_NAME, Entry, Journal

decisive = st.one_of(st.just(StopAndKeep()), st.builds(LearningRate, value=st.floats(1e-12, 1e6)))
SLOWER, FASTER = LearningRate(value=1e-5), LearningRate(value=2e-3)


def test_a_run_without_orders_has_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run" / FILE_NAME)
    assert journal.take(1, ()) == ()
    assert journal.take(2, [Sample(), Checkpoint()]) == (Sample(), Checkpoint())
    assert not (tmp_path / "run").exists()


def test_decisive_orders_are_on_disk_before_they_are_given_out_and_come_again_at_their_step(tmp_path: Path) -> None:
    path = tmp_path / "run" / FILE_NAME
    given_out = Journal(path).take(41, [Sample(), SLOWER])
    assert given_out == (Sample(), SLOWER)
    later = Journal(path)
    assert [later.take(step, ()) for step in (40, 41, 42)] == [(), (SLOWER,), ()]
    assert later.entries == (Entry(step=41, order=SLOWER),)


def test_an_order_given_again_is_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    for _ in range(3):
        assert journal.take(7, [SLOWER, StopAndKeep()]) == (SLOWER, StopAndKeep())
    assert len((tmp_path / FILE_NAME).read_bytes().splitlines()) == 2


def test_whoever_spoke_last_is_obeyed_also_after_the_run_was_set_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    journal.record(20, FASTER)
    journal.record(50, FASTER)
    journal.record(80, StopAndKeep())
    resumed = Journal(tmp_path / FILE_NAME)
    resumed.record(30, SLOWER)
    found = (Entry(step=20, order=FASTER), Entry(step=30, order=SLOWER), Entry(step=80, order=StopAndKeep()))
    assert resumed.entries == Journal(tmp_path / FILE_NAME).entries == found


@given(st.lists(st.tuples(st.integers(1, 30), decisive), max_size=12))
def test_what_is_read_back_is_what_was_recorded(recorded: list[tuple[int, DecisiveOrder]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / FILE_NAME)
        for step, order in recorded:
            journal.record(step, order)
            again = Journal(Path(folder) / FILE_NAME)
            assert again.entries == journal.entries
            assert order in again.at(step)
        steps = [entry.step for entry in journal.entries]
        assert steps == sorted(steps)


@given(st.lists(st.tuples(st.integers(1, 30), decisive), min_size=1, max_size=5), st.data())
def test_a_torn_last_line_is_left_out(recorded: list[tuple[int, DecisiveOrder]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE_NAME
        journal = Journal(path)
        for step, order in recorded:
            journal.record(step, order)
        content = path.read_bytes()
        whole, torn = content[:-1].rpartition(b"\n")[0::2]
        cut = data.draw(st.integers(0, len(torn)))
        path.write_bytes((whole + b"\n" if whole else b"") + torn[:cut])
        assert Journal(path).entries == journal.entries[:-1]
        Journal(path).record(31, SLOWER)
        assert Journal(path).at(31) == (SLOWER,)


@pytest.mark.parametrize("damage", [b"\x00\xff\n", b"{}\n", b'{"step": 3, "order": {"type": "Sample"}}\n', b"\n"])
def test_a_damaged_line_is_said_by_its_number(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / FILE_NAME
    Journal(path).record(5, SLOWER)
    path.write_bytes(path.read_bytes() + damage + path.read_bytes())
    with pytest.raises(NegError, match="Line 2 of") as refusal:
        Journal(path)
    assert refusal.value.detail.code == "corrupt"
