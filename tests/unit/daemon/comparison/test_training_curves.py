"""Separation and leak are found by the adapter's record, and only up to the weights that it holds."""

from pathlib import Path

from daemon.comparison.training_curves import read_training_curves
from daemon.files import write_atomic

LINES = b"""{"step":0,"values":{"separation":0.0,"leak":0.0}}
{"step":1,"loss":0.5,"learning_rate":1e-4,"grad_norm":0.1}
{"step":50,"values":{"held_out_loss":0.4}}
{"step":50,"values":{"separation":0.2,"leak":0.05}}
{"step":100,"values":{"separation":0.3,"leak":0.1}}
{"step":150,"values":{"separ"""


def prepare(folder: Path, record: bytes = b'{"fingerprint":"0123456789abcdef","spec":{}}') -> Path:
    write_atomic(folder / "adapters/wrong/training.json", record)
    write_atomic(folder / "metrics/wrong-01234567.jsonl", LINES)
    return folder


def test_what_was_measured_is_a_curve_a_torn_line_is_not(tmp_path: Path) -> None:
    (found,) = read_training_curves(prepare(tmp_path), ["wrong", "wrong", "elsewhere"])
    assert (found.adapter, found.steps, found.separation, found.leak) == ("wrong", (0, 50, 100), (0.0, 0.2, 0.3), (0.0, 0.05, 0.1))


def test_it_ends_at_the_weights_that_were_kept(tmp_path: Path) -> None:
    (found,) = read_training_curves(prepare(tmp_path, b'{"fingerprint":"0123456789abcdef","step":50}'), ["wrong"])
    assert found.steps == (0, 50)


def test_nothing_measured_is_nothing(tmp_path: Path) -> None:
    assert read_training_curves(prepare(tmp_path, b"{"), ["wrong"]) == ()
    write_atomic(tmp_path / "metrics/wrong-01234567.jsonl", b"")
    assert read_training_curves(prepare(tmp_path, b'{"fingerprint":"ffffffffffffffff"}'), ["wrong"]) == ()
