"""Which status may follow which."""

from hypothesis import given
from hypothesis import strategies as st

from domain.executions import FINAL, TRANSITIONS, ExecutionStatus, can_follow, sources

STATUSES = st.sampled_from(list(ExecutionStatus))


def follow(wishes: list[ExecutionStatus]) -> list[ExecutionStatus]:
    """Ask for one status after another from PENDING on, as racing writers would."""
    history = [ExecutionStatus.PENDING]
    history += (wish for wish in wishes if can_follow(history[-1], wish))
    return history


@given(st.lists(STATUSES, max_size=30))
def test_nothing_leaves_a_final_status(wishes: list[ExecutionStatus]):
    history = follow(wishes)
    assert not FINAL & set(history[:-1])


@given(st.lists(STATUSES, max_size=30))
def test_no_execution_goes_back_to_pending(wishes: list[ExecutionStatus]):
    assert ExecutionStatus.PENDING not in follow(wishes)[1:]


@given(STATUSES, STATUSES)
def test_sources_are_the_statuses_that_lead_there(
    current: ExecutionStatus, wanted: ExecutionStatus
):
    assert (current in sources(wanted)) == can_follow(current, wanted)


def test_every_status_has_its_row_in_the_table():
    assert set(TRANSITIONS) == set(ExecutionStatus)


def test_every_status_that_is_not_final_can_become_each_final_one():
    assert all(TRANSITIONS[status] >= FINAL for status in set(ExecutionStatus) - FINAL)


def test_every_status_can_be_reached():
    reached = {ExecutionStatus.PENDING}
    for _ in ExecutionStatus:
        reached |= {after for status in reached for after in TRANSITIONS[status]}
    assert reached == set(ExecutionStatus)
