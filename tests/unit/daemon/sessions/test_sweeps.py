from pathlib import Path

import msgspec
import pytest

from daemon.protocol.commands import ReadSweep
from daemon.protocol.errors import NegError
from daemon.protocol.sweeps import SweepCell, SweepTable
from daemon.sessions.sweeps import read_sweep

CELL = SweepCell(name="w1", values={"weight": "1"}, num_blocks=3, means={"flaw_probability": 0.2}, verdict="best")
TABLE = SweepTable(
    name="default", metric="flaw_probability", better="lower", axes=("weight",), cells=(CELL,), num_blocks=3, num_pictures=3, num_spared=0,
    num_looks=0, confidence=0.95, verdict="It is best.",
)  # fmt: skip


@pytest.fixture
def sessions_path(tmp_path: Path) -> Path:
    folder = tmp_path / "mine" / "sweeps" / "default"
    folder.mkdir(parents=True)
    (tmp_path / "mine" / "session.toml").write_text('[model]\nbase = "toy"\n')
    (folder / "summary.json").write_bytes(msgspec.json.encode({"table": TABLE, "inputs_sha256": "0"}))
    return tmp_path


def test_a_finished_sweep_is_told(sessions_path: Path) -> None:
    answer = read_sweep(sessions_path, ReadSweep(session="mine", name="default"))
    assert (answer.session, answer.folder, answer.table) == ("mine", "sweeps/default", TABLE)


def test_one_that_is_not_there_is_said_with_those_that_are(sessions_path: Path) -> None:
    with pytest.raises(NegError, match="default") as caught:
        read_sweep(sessions_path, ReadSweep(session="mine", name="defualt"))
    assert caught.value.detail.code == "not_found"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_summary_that_cannot_be_read_is_said(sessions_path: Path, content: bytes) -> None:
    (sessions_path / "mine" / "sweeps" / "default" / "summary.json").write_bytes(content)
    with pytest.raises(NegError, match="cannot be read") as caught:
        read_sweep(sessions_path, ReadSweep(session="mine", name="default"))
    assert caught.value.detail.code == "corrupt"
