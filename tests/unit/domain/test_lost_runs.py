"""Who loses what when a run is lost."""

from hypothesis import given
from hypothesis import strategies as st

from domain.lost_runs import Loss, LossCause, count_together

causes = st.sampled_from([None, *LossCause])
sizes = st.integers(1, 10_000)


@given(sizes, causes)
def test_what_is_lost_before_an_agent_was_asked_loses_nothing(size, cause):
    loss = Loss(size, was_asked=False, cause=cause)
    assert (loss.costs_attempt, loss.next_size, loss.isolates) == (False, None, False)


@given(sizes)
def test_what_a_worker_carried_beside_the_run_that_hung_it_loses_nothing(size):
    loss = Loss(size, was_asked=True, cause=LossCause.BESIDE)
    assert (loss.costs_attempt, loss.next_size, loss.isolates) == (False, None, False)


@given(st.integers(2, 10_000), causes)
def test_no_execution_of_a_run_of_several_loses_an_attempt(size, cause):
    assert not Loss(size, was_asked=True, cause=cause).costs_attempt


def test_only_what_was_lost_alone_loses_an_attempt():
    costly = {cause for cause in [None, *LossCause] if Loss(1, True, cause).costs_attempt}
    assert costly == {None, LossCause.OWN, LossCause.ALONE}


def test_a_lost_run_of_five_hundred_returns_in_runs_a_tenth_as_large_down_to_one():
    sizes = [500]
    while sizes[-1] > 1:
        sizes.append(Loss(sizes[-1], was_asked=True).next_size)
    assert sizes == [500, 50, 5, 1]


@given(st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=30))
def test_a_run_carries_the_first_of_a_line_and_only_what_has_the_same_limit(limits):
    count = count_together(limits)
    taken, rest = limits[:count], limits[count:]
    assert (count > 0) == bool(limits)
    assert len(set(taken)) <= 1
    if taken and taken[0] is not None:
        assert count <= taken[0]
    # And no fewer than it may.
    if rest and rest[0] == taken[0]:
        assert count == taken[0]
