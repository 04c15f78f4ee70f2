import msgspec

from daemon.protocol.sweeps import SweepCell, SweepTable


def test_a_table_comes_back_from_json() -> None:
    cell = SweepCell(name="w1", values={"weight": "1"}, num_blocks=3, means={"flaw_probability": 0.2}, verdict="best")
    table = SweepTable(
        name="a", metric="flaw_probability", better="lower", axes=("weight",), cells=(cell,), num_blocks=3, num_pictures=3, num_spared=0,
        num_looks=0, confidence=0.95, verdict="It is best.",
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(table), type=SweepTable) == table
