import itertools

from daemon.jobs.seldom import FIRST_SECONDS, LONGEST_SECONDS, Seldom


def test_what_goes_on_is_said_at_once_and_then_less_and_less_often() -> None:
    now = [0.0]
    trouble = Seldom(lambda: now[0])
    said = []
    while now[0] < 6 * LONGEST_SECONDS:
        if trouble.is_due():
            said.append(now[0])
        now[0] += 1.0
    gaps = [later - earlier for earlier, later in itertools.pairwise(said)]
    assert said[0] == 0.0
    assert gaps[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert gaps[-1] == LONGEST_SECONDS == max(gaps)


def test_a_trouble_that_comes_back_is_another_one() -> None:
    trouble = Seldom(lambda: 5.0)
    assert trouble.is_due()
    assert not trouble.is_due()
    trouble.over()
    assert trouble.is_due()
