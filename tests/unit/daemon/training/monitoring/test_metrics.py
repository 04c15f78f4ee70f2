from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.training.monitoring.metrics import (
    Measurement,
    MetricsFile,
    Point,
    aligned_batches,
    last_batch,
    measured,
    read_measurements,
    read_points,
)


def points(*steps: int) -> list[Point]:
    return [Point(step, step / 10, 1e-4, 0.5) for step in steps]


@given(st.integers(1, 95), st.data())
def test_a_resumed_run_tells_the_same_batches(num_steps: int, data: st.DataObject) -> None:
    everything = points(*range(1, num_steps + 1))
    undisturbed = list(aligned_batches("j", everything, num_steps))
    stopped = data.draw(st.integers(0, num_steps))
    resumed = list(aligned_batches("j", everything[:stopped], num_steps))
    for step in range(stopped + 1, num_steps + 1):
        resumed += aligned_batches("j", last_batch(everything[:step]), num_steps)
    assert resumed == undisturbed
    assert [step for event in undisturbed for step in event.steps] == list(range(1, num_steps + 1))
    assert len({event.key for event in undisturbed}) == len(undisturbed)


def test_a_batch_with_a_hole_is_not_told() -> None:
    found = list(aligned_batches("j", points(*range(3, 11), *range(11, 21), 21, 23, 24), 24))
    assert [event.steps for event in found] == [tuple(range(11, 21))]


def test_values_follow_the_steps() -> None:
    (event,) = aligned_batches("j", points(1, 2, 3), 3)
    assert event.steps == (1, 2, 3)
    assert event.values == {"loss": (0.1, 0.2, 0.3), "learning_rate": (1e-4,) * 3, "grad_norm": (0.5,) * 3}


def test_opened_at_a_step_it_forgets_what_lies_after(tmp_path: Path) -> None:
    path = tmp_path / "metrics" / "m.jsonl"
    file = MetricsFile(path, 0)
    for point in points(1, 2, 3, 4):
        file.append(point)
    file.sync()
    file.close()
    file = MetricsFile(path, 2)
    file.append(Point(3, 9.0, 1e-4, 0.5))
    file.close()
    assert [(point.step, point.loss) for point in read_points(path, 99)] == [(1, 0.1), (2, 0.2), (3, 9.0)]
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize("rubbish", [b'{"step":3,"lo', b"\xff\xfe\n", b'{"step":"x"}\n', b"\n"])
def test_a_torn_line_is_left_out(tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "m.jsonl"
    file = MetricsFile(path, 0)
    file.append(points(1)[0])
    file.close()
    path.write_bytes(path.read_bytes() + rubbish)
    assert [point.step for point in read_points(path, 99)] == [1]


def test_points_come_back_bit_for_bit(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "m.jsonl", 0)
    point = Point(1, 0.1 + 0.2, 1e-4 / 3, 5e-324)
    file.append(point)
    file.close()
    assert read_points(tmp_path / "m.jsonl", 1) == [point]


def test_old_points_without_a_norm_are_read_and_told_without_it(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step":1,"loss":0.5,"learning_rate":0.1,"grad_norm":2.0}\n')
    (event,) = aligned_batches("j", read_points(path, 1), 1)
    assert event.values == {"loss": (0.5,), "learning_rate": (0.1,), "grad_norm": (2.0,)}


def test_measurements_stand_after_their_step_however_often_they_are_made(tmp_path: Path) -> None:
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    found = [Measurement(0, {"leak": 0.0}), Measurement(2, {"leak": 0.5}), Measurement(2, {"sampled_gain": 0.1})]

    def write(path: Path, last_step: int, steps: range, measurements: list[Measurement]) -> None:
        file = MetricsFile(path, last_step)
        for one in measurements:
            if one.step == last_step:
                file.measure(one)
        for step in steps:
            file.append(points(step)[0])
            for one in measurements:
                if one.step == step:
                    file.measure(one)
        file.close()

    write(once, 0, range(1, 5), found)
    write(twice, 0, range(1, 3), found[:2])
    write(twice, 2, range(3, 4), found)
    write(twice, 2, range(3, 5), [Measurement(2, {"leak": 9.0}), *found])
    assert once.read_bytes() == twice.read_bytes()
    assert [line[:9] for line in once.read_bytes().splitlines()] == [b'{"step":%d' % step for step in (0, 1, 2, 2, 2, 3, 4)]
    assert read_measurements(once, 4) == found
    assert read_measurements(once, 1) == found[:1]
    assert [event.key for event in measured("j", found)] == ["metrics:leak:0-0", "metrics:leak:2-2", "metrics:sampled_gain:2-2"]
