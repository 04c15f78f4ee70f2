import asyncio
from collections.abc import Callable, Coroutine

from daemon.front.flow import Flow, conflation_key
from daemon.front.peers import Frames, Peer
from daemon.front.sockets import Sent
from daemon.protocol import codec
from daemon.protocol.events import Gauges, Logged, Preview, Residents, StepProgress
from daemon.store.events import StoredEvent


class Wire:
    """A log of `head` events and peers whose pipes hold `room` messages."""

    def __init__(self, head: int, room: int = 10_000) -> None:
        self.head = head
        self.room = room
        self.sent: list[tuple[Peer, codec.Head, Frames]] = []
        self.peers: list[Peer] = []
        self.flow = Flow(self.read, lambda: self.peers, self.send)
        self.flow.advance(head)

    def peer(self, id: bytes = b"a") -> Peer:
        peer = Peer(id=id, heard=0.0, tokens=1.0)
        self.peers.append(peer)
        return peer

    async def read(self, since_seq: int, limit: int) -> list[StoredEvent]:
        await asyncio.sleep(0)
        seqs = range(since_seq + 1, min(since_seq + limit, self.head) + 1)
        return [StoredEvent(seq, float(seq), codec.encode(Logged(job_id="j", level="info", message=str(seq)))) for seq in seqs]

    def send(self, peer: Peer, frames: Frames) -> Sent:
        if self.room == 0:
            return "full"
        self.room -= 1
        self.sent.append((peer, codec.decode_head(frames[0]), frames))
        return "sent"

    def seqs(self, peer: Peer) -> list[int]:
        return [head.seq for to, head, _ in self.sent if to is peer]


def play(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scene())


async def settle(flow: Flow) -> None:
    task = asyncio.create_task(flow.run())
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_events_follow_the_cursor_in_order_and_stop_at_the_credit() -> None:
    async def scene() -> None:
        wire = Wire(head=500)
        peer = wire.peer()
        wire.flow.attach(peer, since_seq=10, credit=100, previews=False)
        await settle(wire.flow)
        assert wire.seqs(peer) == list(range(11, 111))
        wire.flow.add_credit(peer, 5)
        await settle(wire.flow)
        assert wire.seqs(peer) == list(range(11, 116))
        assert (wire.sent[0][1].kind, wire.sent[0][1].time) == ("EVT", 11.0)

    play(scene)


def test_a_full_pipe_is_waited_for_and_nothing_is_skipped() -> None:
    async def scene() -> None:
        wire = Wire(head=300, room=70)
        peer = wire.peer()
        wire.flow.attach(peer, 0, 1000, False)
        await settle(wire.flow)
        assert len(wire.seqs(peer)) == 70
        wire.room = 1000
        wire.flow.wake()
        await settle(wire.flow)
        assert wire.seqs(peer) == list(range(1, 301))

    play(scene)


def test_a_stalled_peer_does_not_hold_up_another() -> None:
    async def scene() -> None:
        wire = Wire(head=300)
        stalled, quick = wire.peer(b"a"), wire.peer(b"b")
        wire.flow.attach(stalled, 0, 0, False)
        wire.flow.attach(quick, 0, 1000, False)
        await settle(wire.flow)
        assert wire.seqs(stalled) == []
        assert wire.seqs(quick) == list(range(1, 301))

    play(scene)


def test_replies_that_wait_go_before_events() -> None:
    async def scene() -> None:
        wire = Wire(head=5)
        peer = wire.peer()
        peer.outbox.append([b"reply"])
        wire.flow.attach(peer, 0, 10, False)
        await settle(wire.flow)
        assert wire.seqs(peer) == []
        peer.outbox.clear()
        wire.flow.wake()
        await settle(wire.flow)
        assert wire.seqs(peer) == [1, 2, 3, 4, 5]

    play(scene)


def test_attaching_anew_starts_over_even_during_a_read() -> None:
    async def scene() -> None:
        wire = Wire(head=50)
        peer = wire.peer()
        wire.flow.attach(peer, 0, 1000, False)
        task = asyncio.create_task(wire.flow.run())
        await asyncio.sleep(0)
        wire.flow.attach(peer, 40, 1000, False)
        await asyncio.sleep(0.02)
        task.cancel()
        assert wire.seqs(peer) == list(range(41, 51))

    play(scene)


def test_ephemeral_events_are_conflated_and_previews_only_for_those_who_look() -> None:
    async def scene() -> None:
        wire = Wire(head=0)
        plain, looking, absent = wire.peer(b"a"), wire.peer(b"b"), wire.peer(b"c")
        wire.flow.attach(plain, 0, 0, False)
        wire.flow.attach(looking, 0, 0, True)
        assert wire.flow.previews_wanted
        for step in range(50):
            wire.flow.tell(StepProgress(job_id="j", phase="train", step=step, num_steps=50))
        wire.flow.tell(Preview(job_id="j", image_id="i", step=1, num_steps=2, jpeg=b"jpeg"))
        await asyncio.sleep(0.2)
        by_peer = {peer.id: [frames for to, _, frames in wire.sent if to is peer] for peer in (plain, looking, absent)}
        assert [len(found) for found in by_peer.values()] == [1, 2, 0]
        progress = codec.decode_event(by_peer[b"a"][0][1])
        assert isinstance(progress, StepProgress)
        assert progress.step == 49
        preview = codec.decode_event(by_peer[b"b"][1][1])
        assert isinstance(preview, Preview)
        assert (preview.jpeg, by_peer[b"b"][1][2]) == (b"", b"jpeg")
        wire.flow.close()

    play(scene)


def test_nobody_watches_an_empty_house() -> None:
    async def scene() -> None:
        wire = Wire(head=0)
        wire.peer()
        assert not wire.flow.is_watched
        wire.flow.attach(wire.peers[0], 0, 0, False)
        assert wire.flow.is_watched
        assert not wire.flow.previews_wanted

    play(scene)


def test_ephemeral_events_of_different_jobs_and_kinds_are_kept_apart() -> None:
    keys = {
        conflation_key(StepProgress(job_id="a", phase="x", step=1, num_steps=1)),
        conflation_key(StepProgress(job_id="b", phase="x", step=1, num_steps=1)),
        conflation_key(Preview(job_id="a", image_id="i", step=1, num_steps=1)),
        conflation_key(Gauges(device="a")),
    }
    assert len(keys) == 4


def test_each_worker_s_newest_residents_wait_for_a_full_peer() -> None:
    keys = [conflation_key(Residents(worker=name, doing=doing)) for name, doing in (("a", ""), ("a", "unloading"), ("b", ""))]
    assert keys == ["residents:a", "residents:a", "residents:b"]
