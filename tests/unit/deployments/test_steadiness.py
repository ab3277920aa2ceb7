"""Since when the database has answered, by a clock that a test moves."""

import pytest

from deployments.steadiness import Steadiness


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


def answer_for(steady: Steadiness, clock: list[float], seconds: int) -> None:
    for _ in range(seconds):
        clock[0] += 1
        steady.note_answer()


def test_it_takes_as_long_as_was_asked_for(clock: list[float]):
    steady = Steadiness(lambda: clock[0])
    answer_for(steady, clock, 9)
    assert not steady.lasts(10)
    answer_for(steady, clock, 1)
    assert steady.lasts(10)


def test_silence_ends_it_before_anybody_has_noticed_its_end(clock: list[float]):
    steady = Steadiness(lambda: clock[0])
    answer_for(steady, clock, 60)
    clock[0] += 6
    assert not steady.lasts(10)


def test_after_silence_it_begins_anew(clock: list[float]):
    steady = Steadiness(lambda: clock[0])
    answer_for(steady, clock, 60)
    clock[0] += 60
    steady.note_answer()
    assert not steady.lasts(10)
    answer_for(steady, clock, 10)
    assert steady.lasts(10)
