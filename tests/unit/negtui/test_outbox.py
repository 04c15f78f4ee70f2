from pathlib import Path

from daemon.protocol.commands import Submit
from daemon.protocol.specs import ModelSpec, SynthesisSpec, SynthesizeJob
from negtui.outbox import Outbox


def submission(key: str) -> Submit:
    return Submit(key=key, spec=SynthesizeJob(session="a", model=ModelSpec(base="toy"), synthesis=SynthesisSpec(keywords=("x",))))


def test_what_was_put_waits_until_it_is_removed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    assert outbox.waiting() == []
    for key in ("key-00002", "key-00001"):
        outbox.put(submission(key))
    assert {command.key for command in Outbox(tmp_path / "outbox").waiting()} == {"key-00001", "key-00002"}
    outbox.remove("key-00002")
    outbox.remove("key-00002")
    assert outbox.waiting() == [submission("key-00001")]


def test_a_damaged_file_is_set_aside_and_the_rest_is_sent(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(submission("key-00001"))
    (tmp_path / "key-00000.msgpack").write_bytes(b"\xc1 torn")
    (tmp_path / ".tmp-abc").write_bytes(b"an interrupted write")
    assert [command.key for command in outbox.waiting()] == ["key-00001"]
    assert (tmp_path / "key-00000.bad").read_bytes() == b"\xc1 torn"


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox").put(submission("key-00001"))
    assert (tmp_path / "outbox").stat().st_mode & 0o077 == 0
