import msgspec

from daemon.protocol.events import Logged
from daemon.protocol.link import FromWorker, InterruptUnit, ToWorker, UnitTold


def test_both_directions_travel() -> None:
    told = UnitTold(job_id="j", fence=2, event=Logged(job_id="j", level="info", message="m"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=FromWorker) == told
    interrupt = InterruptUnit(job_id="j", how="pause")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(interrupt), type=ToWorker) == interrupt
