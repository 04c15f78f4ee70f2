import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.front.peers import Limits, Peer, Peers
from daemon.protocol.errors import NegError


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=300), st.integers(1, 50))
def test_nobody_gets_more_than_the_rate_and_one_burst(waits: list[float], rate: int) -> None:
    peer, now, granted = Peer(id=b"a", heard=0.0, tokens=float(rate)), 0.0, 0
    for wait in waits:
        now += wait
        granted += peer.spend(now, rate)
    assert granted <= rate + rate * now + 1e-6


def test_a_slow_peer_is_never_refused() -> None:
    peer = Peer(id=b"a", heard=0.0, tokens=10.0)
    assert all(peer.spend(second / 9, 10) for second in range(1, 200))


def test_more_peers_than_allowed_are_refused_until_one_leaves() -> None:
    peers = Peers(Limits(peers=2))
    first = peers.add(b"a", 0.0)
    peers.add(b"b", 0.0)
    with pytest.raises(NegError) as refused:
        peers.add(b"c", 0.0)
    assert (refused.value.detail.code, refused.value.detail.retryable) == ("busy", True)
    peers.drop(first)
    assert first.is_gone
    peers.add(b"c", 0.0)
    assert {peer.id for peer in peers} == {b"b", b"c"}


def test_the_silent_are_told_from_the_rest() -> None:
    peers = Peers(Limits(silence_seconds=30))
    silent = peers.add(b"a", 0.0)
    peers.add(b"b", 20.0)
    assert peers.silent(31.0) == [silent]


def test_what_waited_for_a_dropped_peer_is_freed() -> None:
    peers = Peers(Limits())
    peer = peers.add(b"a", 0.0)
    peer.outbox.append([b"x"])
    peer.ephemeral["x"] = [b"x"]
    peers.drop(peer)
    assert not peer.outbox
    assert not peer.ephemeral


def test_the_limits_told_are_those_of_the_contract() -> None:
    assert Limits().told() == {"peers": 32, "open_requests": 64, "messages_per_second": 500, "frame_bytes": 262_144, "frames": 8}
