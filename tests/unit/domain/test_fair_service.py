"""Who gets how much by when, over whole runs of a simulated worker."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.queue_simulation import Arrival, SimulatedQueue
from benchmarks.shares import End, Mark, mark_tenths
from domain.queue_shares import Rules

WORKING = Rules(opening_s=0.25, is_in_step=True)
"""As the worker claims."""
LAUNCHES = st.floats(0.05, 1.0)


def serve(
    weights: dict[str, float], arrivals: list[Arrival], rules: Rules = WORKING, **known: object
) -> SimulatedQueue:
    queue = SimulatedQueue(weights=weights, rules=rules, **known)  # type: ignore[arg-type]
    queue.serve(arrivals)
    assert sum(count for _, _, count in queue.ends) == sum(each.count for each in arrivals)
    return queue


def ends_of(queue: SimulatedQueue) -> list[End]:
    return [End(at_s, org) for at_s, org, count in queue.ends for _ in range(count)]


def indexes(queue: SimulatedQueue) -> list[float]:
    return [mark.index(queue.weights) for mark in mark_tenths(ends_of(queue))]


def names(count: int) -> dict[str, float]:
    return {f"o{number}": 1.0 for number in range(count)}


@settings(max_examples=30)
@given(
    st.integers(2, 9),
    st.integers(25, 100).map(lambda tenth: tenth * 10),
    st.integers(1, 3),
    LAUNCHES,
)
def test_equal_ones_are_equally_far_at_each_tenth(
    orgs: int, each: int, workers: int, launch_s: float
):
    weights = names(orgs)
    queue = serve(
        weights, [Arrival(0, org, each) for org in weights], workers=workers, run_s=launch_s
    )
    assert min(indexes(queue)) >= 0.99


@settings(max_examples=30)
@given(st.lists(st.floats(0.0, 0.2), min_size=2, max_size=9), st.integers(30, 100))
def test_who_comes_a_moment_later_is_as_far_at_each_tenth(gaps: list[float], tenth: int):
    """Whoever is first must not have all of its own started before the others have asked."""
    at_s, arrivals = 0.0, []
    for number, gap in enumerate(gaps):
        arrivals.append(Arrival(at_s, f"o{number}", tenth * 10))
        at_s += gap
    queue = serve(names(len(gaps)), arrivals)
    assert min(indexes(queue)) >= 0.99


def test_without_a_small_opening_the_first_one_has_all_before_the_others_have_any():
    """What the property above would not hold for."""
    weights = names(9)
    arrivals = [Arrival(0.1 * place, org, 300) for place, org in enumerate(weights)]
    assert min(indexes(serve(weights, arrivals, Rules()))) < 0.5


@settings(max_examples=30)
@given(st.lists(st.integers(1, 8), min_size=2, max_size=4), st.integers(1, 2))
@example(parts=[1, 3, 4, 4], workers=2)
def test_shares_of_completed_work_are_as_weights(parts: list[int], workers: int):
    weights = {f"o{number}": float(part) for number, part in enumerate(parts)}
    queue = serve(weights, [Arrival(0, org, 20_000) for org in weights], workers=workers)
    ends = ends_of(queue)
    first_done = min(max(e.at_s for e in ends if e.org == org) for org in weights)
    counted = [end for end in ends if end.at_s <= first_done]
    # A run of the lightest is no smaller than 25: that much it may be ahead or behind, and
    # everybody by what is under way, which is two runs or three.
    grain = max(500 * workers, 25 * sum(parts) / min(parts)) * 3
    for mark in mark_tenths(counted)[1:]:
        done = sum(mark.done.values())
        for org, weight in weights.items():
            fair = done * weight / sum(parts)
            assert abs(mark.done.get(org, 0) - fair) <= max(0.05 * done, grain), (org, mark)


def test_three_to_one_are_three_to_one():
    weights = {"three": 3.0, "one": 1.0}
    queue = serve(weights, [Arrival(0, org, 20_000) for org in weights])
    ends = ends_of(queue)
    last = max(end.at_s for end in ends if end.org == "three")
    marks: list[Mark] = mark_tenths([end for end in ends if end.at_s <= last])
    for mark in marks[2:]:
        assert mark.share("three") == pytest.approx(0.75, rel=0.05)


@settings(max_examples=20)
@given(st.integers(5_000, 30_000), st.floats(1.0, 2.0), st.floats(0.0, 0.9))
def test_one_execution_now_and_then_never_waits_for_a_place(
    heavy: int, every_s: float, offset_s: float
):
    """Also when the one before it is still running, and however much somebody else has queued."""
    weights = {"light": 1.0, "heavy": 1.0}
    singles = [Arrival(offset_s + every_s * number, "light", 1) for number in range(20)]
    queue = serve(weights, [Arrival(0, "heavy", heavy), *singles])
    waits = [wait_s for _, org, _, wait_s in queue.starts if org == "light"]
    assert max(waits) <= 1e-6


@settings(max_examples=20)
@given(st.floats(1.0, 30.0), st.integers(2, 6))
def test_slow_agents_of_one_do_not_slow_down_the_others(slowness: float, others: int):
    """Who keeps in step with somebody waits for a moment, and not until that one is done."""
    weights = names(others + 1)
    arrivals = [Arrival(0, org, 300) for org in weights]
    alone = serve(names(others), [Arrival(0, org, 300) for org in names(others)])
    beside = serve(weights, arrivals, waits={f"o{others}": slowness})
    quick = max(at_s for at_s, org, _ in beside.ends if org != f"o{others}")
    # Their own work, the slow one's part of the processor, and a moment for each of its runs.
    assert quick <= alone.now * (others + 1) / others + 10 * 1.5 + 1


@settings(max_examples=20)
@given(st.integers(1_000, 20_000))
def test_who_is_alone_is_served_in_large_runs(count: int):
    queue = serve({"alone": 1.0}, [Arrival(0, "alone", count)])
    assert len(queue.ends) <= count / 500 + 2


@settings(max_examples=20)
@given(st.integers(2, 10), st.integers(1_100, 3_000), st.floats(0.0, 1.0))
def test_all_that_have_much_are_served_in_large_runs(orgs: int, each: int, apart_s: float):
    weights = names(orgs)
    arrivals = [Arrival(apart_s * place, org, each) for place, org in enumerate(weights)]
    queue = serve(weights, arrivals)
    assert len(queue.ends) <= orgs * 8
