"""A run's state history is read as a set: order and repetition of delivery change nothing."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.executions import ExecutionStatus
from domain.runs import TERMINAL, Ending, RunState, StateType, read_history

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = ("Running", "Pending", "Late", "AwaitingRetry", "TimedOut", "Resuming", "PartiallyFailed")


def history_of(*kinds: str) -> list[RunState]:
    """Make a history, one state a second; `FAILED/TimedOut` gives a state its name."""
    states: list[RunState] = []
    for number, kind in enumerate(kinds):
        type_name, _, name = kind.partition("/")
        at = NOON + timedelta(seconds=number)
        states.append(
            RunState(UUID(int=number), StateType(type_name), name or type_name.title(), at)
        )
    return states


histories = st.lists(
    st.tuples(st.sampled_from(StateType), st.sampled_from(NAMES), st.integers(0, 50)),
    min_size=1,
    max_size=12,
).map(
    lambda rows: [
        RunState(UUID(int=n), kind, name, NOON + timedelta(seconds=at))
        for n, (kind, name, at) in enumerate(rows)
    ]
)


@given(histories, st.randoms())
def test_order_and_repetition_of_delivery_change_nothing(states, random):
    delivered = [*states, *random.choices(states, k=len(states))]
    random.shuffle(delivered)
    assert read_history(delivered) == read_history(states)


@given(histories)
def test_only_a_terminal_newest_state_ends_a_run(states):
    facts = read_history(states)
    assert (facts.ending is not None) == (facts.latest.type in TERMINAL)


@given(histories)
def test_a_run_starts_at_its_first_running_state(states):
    started_at = read_history(states).started_at
    running = [state.at for state in states if state.type is StateType.RUNNING]
    assert started_at == (min(running) if running else None)


@given(histories)
def test_a_history_read_in_parts_ends_like_the_whole(states):
    # The mirror stores what it hears of, so the last call reads the whole set.
    heard: set[RunState] = set()
    for state in states:
        heard.add(state)
        facts = read_history(heard)
    assert facts == read_history(states)


def test_a_crash_while_being_cancelled_is_a_cancellation():
    facts = read_history(history_of("PENDING", "RUNNING", "CANCELLING", "CRASHED"))
    assert facts.ending is Ending.CANCELLED


def test_a_crash_after_a_cancelling_that_was_taken_back_is_a_loss():
    states = history_of("RUNNING", "CANCELLING", "SCHEDULED", "RUNNING", "CRASHED")
    assert read_history(states).ending is Ending.LOST


def test_a_time_limit_is_told_from_other_failures():
    assert read_history(history_of("RUNNING", "FAILED/TimedOut")).ending is Ending.TIMED_OUT
    assert read_history(history_of("RUNNING", "FAILED")).ending is Ending.BY_AGENTS


def test_a_retry_that_waits_is_still_running():
    states = history_of("PENDING", "RUNNING", "SCHEDULED/AwaitingRetry")
    assert read_history(states).status is ExecutionStatus.RUNNING


def test_a_suspended_run_waits_for_a_person():
    assert read_history(history_of("RUNNING", "PAUSED")).status is ExecutionStatus.PAUSED


def test_a_late_run_has_not_started():
    facts = read_history(history_of("SCHEDULED", "SCHEDULED/Late"))
    assert (facts.status, facts.started_at) == (ExecutionStatus.PENDING, None)
