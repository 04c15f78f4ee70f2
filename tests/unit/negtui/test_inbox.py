import asyncio

from hypothesis import given
from hypothesis import strategies as st

from daemon.protocol.commands import Attached, Snapshot
from daemon.protocol.events import Gauges, Logged, StepProgress
from negtui.inbox import Inbox, Item


def event(seq: int) -> Logged:
    return Logged(job_id="j", level="info", message=str(seq))


def read_all(inbox: Inbox) -> list[Item]:
    async def read() -> list[Item]:
        items = []
        try:
            while True:
                async with asyncio.timeout(0):
                    items.append(await inbox.next())
        except TimeoutError:
            return items

    return asyncio.run(read())


@given(st.lists(st.integers(1, 12) | st.just("cut"), max_size=60))
def test_whatever_comes_what_is_read_has_no_hole_and_no_double(arrivals: list[int | str]) -> None:
    """Events in any order, with cuts; a hole or a cut is followed by an attach that replays from where the inbox stands."""
    inbox = Inbox("store", 0, previews=False)
    inbox.attach()
    inbox.attached("store", Attached(seq=0))
    for arrival in arrivals:
        taken = "hole" if isinstance(arrival, str) else inbox.take(arrival, event(arrival))
        if taken == "hole":
            asked = inbox.attach()
            assert inbox.take(asked.since_seq + 1, event(0)) == "ignored"
            inbox.attached("store", Attached(seq=asked.since_seq))
    seqs = [seq for seq, _ in read_all(inbox)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert inbox.last_seq == len(seqs)


def test_a_snapshot_replaces_what_was_not_read() -> None:
    inbox = Inbox("old", 5, previews=False)
    inbox.attach()
    inbox.attached("old", Attached(seq=5))
    inbox.take(6, event(6))
    inbox.take(0, Gauges(device="a"))
    inbox.attach()
    inbox.attached("new", Attached(seq=2, snapshot=Snapshot()))
    inbox.take(3, event(3))
    assert read_all(inbox) == [(2, Snapshot()), (3, event(3))]
    assert (inbox.store_id, inbox.attach().since_seq) == ("new", 3)


def test_without_a_place_a_snapshot_is_asked_for() -> None:
    asked = Inbox("store", None, previews=True).attach()
    assert (asked.store_id, asked.since_seq, asked.previews) == ("", 0, True)


def test_credit_is_given_back_as_events_are_read() -> None:
    inbox = Inbox("store", 0, previews=False, window=10)
    assert inbox.attach().credit == 10
    inbox.attached("store", Attached(seq=0))
    for seq in range(1, 11):
        inbox.take(seq, event(seq))
    assert inbox.owed_credit() == 0

    async def read(count: int) -> None:
        for _ in range(count):
            await inbox.next()

    asyncio.run(read(4))
    assert inbox.owed_credit() == 0
    asyncio.run(read(1))
    assert inbox.owed_credit() == 5
    assert inbox.owed_credit() == 0
    # What lies unread here is not asked for twice.
    assert inbox.attach().credit == 5


def test_ephemeral_events_are_conflated_and_come_after_durable_ones() -> None:
    inbox = Inbox("store", 0, previews=False)
    inbox.attached("store", Attached(seq=0))
    for step in range(100):
        inbox.take(0, StepProgress(job_id="j", phase="train", step=step, num_steps=100))
    inbox.take(1, event(1))
    assert read_all(inbox) == [(1, event(1)), (0, StepProgress(job_id="j", phase="train", step=99, num_steps=100))]
