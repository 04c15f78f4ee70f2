import pytest

from daemon.jobs.hang import HangLimits, HangWatch

LIMITS = HangLimits(silence_seconds=60, first_step_seconds=600, step_seconds=120, medians=20)


@pytest.fixture
def watch() -> HangWatch:
    return HangWatch(LIMITS, 0.0)


def test_silence(watch: HangWatch) -> None:
    assert watch.silent(60) is None
    assert watch.silent(61) == "gave no sign of life for 61 s"
    watch.hear(61)
    assert watch.silent(100) is None


def test_the_first_step_of_a_phase_may_take_long(watch: HangWatch) -> None:
    watch.step(0, "load", 1)
    assert watch.stuck(601) is None
    assert watch.stuck(602) == "made no step for 601 s in phase load (600 s are allowed)"
    watch.step(0, "train", 590)
    assert watch.stuck(1190) is None


def test_alive_alone_is_no_step(watch: HangWatch) -> None:
    watch.step(0, "train", 0)
    watch.step(1, "train", 10)
    for second in range(11, 200):
        watch.step(1, "train", second)
    assert watch.silent(200) is None
    assert watch.stuck(129) is None
    assert watch.stuck(131) is not None


def test_slow_steps_are_allowed_twenty_medians(watch: HangWatch) -> None:
    now = 0.0
    for step in range(10):
        watch.step(step, "train", now := now + 30)
    assert watch.stuck(now + 600) is None
    assert watch.stuck(now + 601) is not None


def test_many_steps_between_two_signs_are_averaged(watch: HangWatch) -> None:
    watch.step(0, "train", 0)
    watch.step(1, "train", 1)
    watch.step(101, "train", 1001)
    assert watch.stuck(1001 + 200) is None
    assert watch.stuck(1001 + 201) is not None


def test_durable_events_are_progress_and_a_deaf_front_forgives(watch: HangWatch) -> None:
    watch.step(0, "measure", 0)
    watch.step(1, "measure", 1)
    watch.progress(100)
    assert watch.stuck(220) is None
    assert watch.stuck(221) is not None
    watch.forgive(1000)
    assert (watch.silent(1001), watch.stuck(1001)) == (None, None)


def test_one_that_steps_on_though_asked_to_stop_is_hung(watch: HangWatch) -> None:
    for step in range(400):
        watch.step(step, "train", float(step))
        if step in (100, 200):
            watch.ask(step)
        if step <= 340:
            assert watch.stuck(step) is None
    assert watch.stuck(341) == "did not stop within 241 s of being asked"
    watch.forgive(500)
    assert watch.stuck(501) is None
