"""Drift is found where two sides say different things, and nowhere else."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.drift import (
    GRACE,
    Counters,
    DriftKind,
    RunView,
    compare_audit,
    compare_counters,
    compare_run,
)
from domain.execution_ends import END_ACTIONS, EXECUTED, end_action
from domain.executions import FINAL, ExecutionStatus
from domain.ids import OrgId, RunId
from domain.runs import TERMINAL, Ending, RunState, StateType, closing_type, read_history

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
ACME = OrgId("org_acme")
COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED

types = st.sampled_from(StateType)
states = st.builds(
    lambda number, kind, at: RunState(
        UUID(int=number), kind, kind.value.title(), NOON + timedelta(seconds=at)
    ),
    st.integers(0, 5),
    types,
    st.integers(0, 60),
)
statuses = st.dictionaries(st.sampled_from(ExecutionStatus), st.integers(1, 9), max_size=4)


def view(
    *,
    state: RunState | None = None,
    closed_as: StateType | None = None,
    statuses: dict[ExecutionStatus, int] | None = None,
) -> RunView:
    return RunView(
        id=RunId("run_1"),
        org_id=ACME,
        state=state,
        closed_as=closed_as,
        closed_at=NOON if closed_as else None,
        statuses=statuses or {},
    )


def state(kind: StateType, number: int = 1) -> RunState:
    return RunState(UUID(int=number), kind, kind.value.title(), NOON)


def kind_of(checked: RunView, seen: RunState | None, now: datetime = LATER) -> DriftKind | None:
    drift = compare_run(checked, seen, now=now)
    return drift.kind if drift else None


@given(states, statuses)
def test_an_open_run_in_the_state_that_was_mirrored_has_no_drift(seen, statuses):
    assume(seen.type not in TERMINAL)
    assert kind_of(view(state=seen, statuses=statuses), seen) is None


@given(states, st.none() | states)
def test_an_open_run_differs_whenever_prefect_has_another_state(seen, mirrored):
    kind = kind_of(view(state=mirrored), seen)
    if seen.type in TERMINAL:
        assert kind is DriftKind.OPEN_HERE_CLOSED_THERE
    elif mirrored is None and seen.type in (StateType.SCHEDULED, StateType.PENDING):
        assert kind is None, "before it starts there is nothing to mirror"
    elif mirrored is None or mirrored.id != seen.id:
        assert kind is DriftKind.STATE_BEHIND
    else:
        assert kind is None


@given(states, st.none() | states)
def test_an_open_run_s_newest_state_may_be_on_its_way_but_for_its_end(seen, mirrored):
    kind = kind_of(view(state=mirrored), seen, NOON + GRACE / 2)
    expected = DriftKind.OPEN_HERE_CLOSED_THERE if seen.type in TERMINAL else None
    assert kind is expected


@given(st.none() | states)
def test_an_open_run_that_prefect_does_not_have_is_missing(mirrored):
    assert kind_of(view(state=mirrored), None) is DriftKind.MISSING_IN_PREFECT


@given(st.sampled_from(sorted(TERMINAL)))
def test_a_closed_run_that_prefect_has_forgotten_is_no_drift(closed_as):
    assert kind_of(view(closed_as=closed_as), None) is None


@given(st.sampled_from(sorted(TERMINAL)), states)
def test_a_closed_run_is_held_to_what_it_was_closed_as(closed_as, seen):
    kind = kind_of(view(state=seen, closed_as=closed_as), seen)
    if seen.type is closed_as:
        assert kind is None
    elif seen.type in TERMINAL:
        assert kind is DriftKind.TERMINAL_MISMATCH
    else:
        assert kind is DriftKind.CLOSED_HERE_OPEN_THERE


@given(st.sampled_from(sorted(TERMINAL)), states, statuses)
def test_a_run_that_was_closed_a_moment_ago_is_left_alone(closed_as, seen, statuses):
    checked = view(state=seen, closed_as=closed_as, statuses=statuses)
    assert kind_of(checked, seen, NOON + GRACE / 2) is None


@given(st.sampled_from(sorted(TERMINAL)), statuses)
def test_an_open_execution_in_a_closed_run_is_stranded(closed_as, statuses):
    assume(any(status not in FINAL for status in statuses))
    seen = state(closed_as)
    checked = view(state=seen, closed_as=closed_as, statuses=statuses)
    assert kind_of(checked, seen) is DriftKind.EXECUTION_STRANDED


def test_final_executions_that_contradict_their_run_are_for_a_person():
    done, broken = state(StateType.COMPLETED), state(StateType.FAILED)
    one = view(state=done, closed_as=StateType.COMPLETED, statuses={FAILED: 2})
    two = view(state=broken, closed_as=StateType.FAILED, statuses={COMPLETED: 1, FAILED: 1})
    assert kind_of(one, done) is kind_of(two, broken) is DriftKind.STATUS_MISMATCH


def test_a_partly_failed_run_is_no_drift():
    seen = RunState(UUID(int=1), StateType.COMPLETED, "PartiallyFailed", NOON)
    checked = view(state=seen, closed_as=StateType.COMPLETED, statuses={COMPLETED: 1, FAILED: 3})
    assert kind_of(checked, seen) is None


@given(
    st.lists(states, min_size=1, max_size=6), st.none() | st.lists(st.sampled_from(sorted(FINAL)))
)
def test_a_run_is_always_closed_in_a_terminal_state(history, ended_before):
    facts = read_history(history)
    assume(facts.ending is not None)
    closed_as = closing_type(facts, ended_before)
    assert closed_as in TERMINAL
    if facts.ending is not Ending.LOST:
        assert closed_as is closing_type(facts, None)


def test_a_crash_that_was_a_cancellation_is_closed_as_cancelled():
    facts = read_history(
        [
            RunState(UUID(int=n), kind, "", NOON + timedelta(seconds=n))
            for n, kind in enumerate((StateType.RUNNING, StateType.CANCELLING, StateType.CRASHED))
        ]
    )
    assert closing_type(facts, None) is StateType.CANCELLED


def test_a_run_broken_off_because_nobody_wanted_it_is_closed_as_its_executions_ended():
    facts = read_history([state(StateType.CRASHED)])
    assert closing_type(facts, None) is StateType.CRASHED
    assert closing_type(facts, [ExecutionStatus.CANCELLED]) is StateType.CANCELLED
    assert closing_type(facts, [FAILED, ExecutionStatus.CANCELLED]) is StateType.FAILED
    assert closing_type(facts, [FAILED, COMPLETED]) is StateType.COMPLETED


counters = st.builds(Counters, *[st.integers(0, 3)] * 4)


@given(counters, counters)
def test_counters_drift_exactly_when_they_differ(kept, counted):
    drift = compare_counters(ACME, "wf_1", kept=kept, counted=counted)
    assert (drift is None) == (kept == counted)


@given(
    st.sampled_from(sorted(FINAL)),
    st.lists(st.sampled_from([*sorted(END_ACTIONS), "execution.started", EXECUTED]), max_size=4),
)
def test_an_end_is_audited_once_and_as_what_it_was(status, actions):
    drift = compare_audit(ACME, "exec_1", status=status, actions=actions)
    found = [action for action in actions if action in END_ACTIONS or action == EXECUTED]
    if found == [end_action(status)]:
        assert drift is None
    elif found:
        assert drift is not None
        assert drift.kind is DriftKind.AUDIT_REPEATED
    else:
        assert drift is not None
        assert drift.kind is DriftKind.AUDIT_MISSING
