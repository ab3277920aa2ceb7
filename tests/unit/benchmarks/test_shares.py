"""Marks over completed work: at tenths of the way, and within spans of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.shares import End, count_windows, mark_tenths, percentile

ENDS = st.lists(
    st.builds(End, st.floats(0, 1_000).map(lambda s: round(s, 3)), st.sampled_from("abc")),
    min_size=1,
    max_size=200,
)


@given(ENDS)
def test_each_mark_has_at_least_its_tenth_and_the_last_has_all(ends: list[End]):
    marks = mark_tenths(ends)
    counts = [sum(mark.done.values()) for mark in marks]
    assert all(count * 10 >= len(ends) * (place + 1) for place, count in enumerate(counts))
    assert counts == sorted(counts)
    assert counts[-1] == len(ends)


@given(ENDS, st.integers(1, 10))
def test_spans_of_time_hold_every_end_once(ends: list[End], count: int):
    windows = count_windows(ends, count=count)
    assert len(windows) == count
    assert sum(sum(window.done.values()) for window in windows) == len(ends)


def test_runs_that_end_in_turn_are_equal_at_each_tenth():
    ends = [End(number // 30, "abc"[number // 30 % 3]) for number in range(900)]
    marks = mark_tenths(ends)
    assert [round(mark.index(dict.fromkeys("abc", 1.0)), 3) for mark in marks] == [1.0] * 10
    assert marks[-1].share("a") == pytest.approx(1 / 3)


def test_one_that_is_served_first_is_seen():
    ends = [End(0 if org == "a" else 1, org) for org in "ab" for _ in range(100)]
    assert mark_tenths(ends)[0].index({"a": 1.0, "b": 1.0}) == 0.5


def test_a_percentile_is_one_of_the_values():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(1, 101))), 0.95) == 95.0
    assert percentile([7.0], 0.95) == 7.0
