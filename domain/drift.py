"""Drift: where Prefect, our runs and the tenants' rows do not say the same.

Pure comparisons. What is read, and how it is put right, is two floors up.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.execution_ends import END_ACTIONS, EXECUTED, end_action
from domain.executions import FINAL, ExecutionStatus
from domain.ids import OrgId, RunId
from domain.runs import TERMINAL, RunState, StateType


class DriftKind(StrEnum):
    """What does not fit, and so what has to be done."""

    STATE_BEHIND = "state_behind"
    """Prefect has a newer state than the one that was mirrored."""
    OPEN_HERE_CLOSED_THERE = "open_here_closed_there"
    """Prefect has ended a run that is open here."""
    MISSING_IN_PREFECT = "missing_in_prefect"
    """Somebody deleted an open run there."""
    CLOSED_HERE_OPEN_THERE = "closed_here_open_there"
    """Prefect has a run open that is closed here: it takes a slot there for ever."""
    TERMINAL_MISMATCH = "terminal_mismatch"
    """Prefect has ended a run otherwise than it was closed here."""
    EXECUTION_STRANDED = "execution_stranded"
    """An execution is open although its run is closed: nobody would ever end it."""
    STATUS_MISMATCH = "status_mismatch"
    """A final execution contradicts its run. Final is final: a person has to look."""
    COUNTERS_OFF = "counters_off"
    """A workflow's counters are not the numbers of its executions by status."""
    AUDIT_MISSING = "audit_missing"
    """A final execution has no entry of its end in the audit trail."""
    AUDIT_REPEATED = "audit_repeated"
    """It has several, or one of another end. The trail is never rewritten: a person has to look."""
    WORKER_LOST = "worker_lost"
    """A run's worker was not heard of for longer than its lease."""
    RUN_STUCK = "run_stuck"
    """A run was made and never started, although its worker lives."""
    DEPLOYMENT_MISSING = "deployment_missing"
    """Somebody deleted a workflow's deployment in Prefect."""
    NOT_PUBLISHED = "not_published"
    """A workflow could not be published: Prefect refuses it, or one of its schedules."""
    DEPLOYMENT_DIFFERS = "deployment_differs"
    """Somebody edited it, or one of its schedules."""
    SCHEDULE_SWITCHED = "schedule_switched"
    """A schedule, or its deployment, was paused or resumed in Prefect, which holds here too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference, in words for people: what is said here, and what is said there."""

    kind: DriftKind
    org_id: OrgId
    subject: str
    """The id of the run, execution or workflow."""
    here: str
    there: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What our tables say of a run."""

    id: RunId
    org_id: OrgId
    state: RunState | None
    """The newest state that was mirrored."""
    closed_as: StateType | None
    """The state that Prefect shall have it in; `None` while it is open."""
    closed_at: datetime | None
    statuses: Mapping[ExecutionStatus, int]
    """How many of the executions that it carries are in which status, without those that ended by
    being called off: how they ended says nothing of the run."""


# So long a worker may need from one write to the next one that belongs to it.
GRACE = timedelta(seconds=5)
_BEFORE_START = frozenset({StateType.SCHEDULED, StateType.PENDING})


def compare_run(view: RunView, seen: RunState | None, *, now: datetime) -> Drift | None:
    """Compare a run with Prefect's newest state of it; the most urgent difference, or none.

    Args:
        seen: `None` if Prefect does not have the run. It forgets old ones by itself, so that is
            no difference once a run is closed.
        now: what is younger than `GRACE` may still be on its way and is no drift yet, but for an
            end that was not mirrored: to mirror it once more costs little.
    """
    if view.closed_as is None:
        return _compare_open(view, seen, now)
    if view.closed_at is not None and now - view.closed_at < GRACE:
        return None
    if seen is not None and now - seen.at >= GRACE and seen.type is not view.closed_as:
        kind = DriftKind.TERMINAL_MISMATCH
        if seen.type not in TERMINAL:
            kind = DriftKind.CLOSED_HERE_OPEN_THERE
        return _drift(kind, view, f"closed as {view.closed_as.value}", _name(seen))
    unfinished = sum(n for status, n in view.statuses.items() if status not in FINAL)
    if unfinished:
        here = f"{unfinished} executions open in a run closed as {view.closed_as.value}"
        return _drift(DriftKind.EXECUTION_STRANDED, view, here, _name(seen))
    wrong = _wrong_statuses(view.closed_as, view.statuses)
    if wrong:
        return _drift(DriftKind.STATUS_MISMATCH, view, wrong, _name(seen))
    return None


def _compare_open(view: RunView, seen: RunState | None, now: datetime) -> Drift | None:
    here = f"open, {_name(view.state)}"
    if seen is None:
        return _drift(DriftKind.MISSING_IN_PREFECT, view, here, "no such run")
    if seen.type in TERMINAL:
        return _drift(DriftKind.OPEN_HERE_CLOSED_THERE, view, here, _name(seen))
    if view.state is None and seen.type in _BEFORE_START:
        return None  # made, or handed over: nothing of it is mirrored before it starts
    if (view.state is None or view.state.id != seen.id) and now - seen.at >= GRACE:
        return _drift(DriftKind.STATE_BEHIND, view, here, _name(seen))
    return None


def _wrong_statuses(closed_as: StateType, statuses: Mapping[ExecutionStatus, int]) -> str | None:
    # Completed means that at least one was completed, and Failed that none was.
    completed = statuses.get(ExecutionStatus.COMPLETED, 0)
    total = sum(statuses.values())
    match closed_as:
        case StateType.COMPLETED if total and not completed:
            named = ", ".join(f"{n} {status.value}" for status, n in sorted(statuses.items()))
            return f"none of {total} executions is COMPLETED: {named}"
        case StateType.FAILED if completed:
            return f"{completed} of {total} executions are COMPLETED"
        case _:
            return None


def _drift(kind: DriftKind, view: RunView, here: str, there: str) -> Drift:
    return Drift(kind=kind, org_id=view.org_id, subject=view.id, here=here, there=there)


def _name(state: RunState | None) -> str:
    if state is None:
        return "no state"
    if state.name.upper() == state.type.value:
        return state.type.value
    return f"{state.type.value} ({state.name})"


@dataclass(frozen=True, slots=True)
class Counters:
    """A workflow's statistics: how many executions ended, and how."""

    total: int
    completed: int
    failed: int
    cancelled: int

    def __str__(self) -> str:
        """Write them for people."""
        return (
            f"{self.total} = {self.completed} completed + {self.failed} failed "
            f"+ {self.cancelled} cancelled"
        )


def compare_counters(
    org_id: OrgId, workflow_id: str, *, kept: Counters, counted: Counters
) -> Drift | None:
    """Compare a workflow's counters with its executions."""
    if kept == counted:
        return None
    return Drift(
        kind=DriftKind.COUNTERS_OFF,
        org_id=org_id,
        subject=workflow_id,
        here=f"counters: {kept}",
        there=f"executions: {counted}",
    )


def compare_audit(
    org_id: OrgId, execution_id: str, *, status: ExecutionStatus, actions: Collection[str]
) -> Drift | None:
    """Compare a final execution with the ends of it that are in the audit trail.

    Args:
        actions: of all its entries, an end as `end_action` names it whatever its form; those that
            are no ends do not count.
    """
    ends = sorted(action for action in actions if action in END_ACTIONS or action == EXECUTED)
    if ends == [end_action(status)]:
        return None
    return Drift(
        kind=DriftKind.AUDIT_REPEATED if ends else DriftKind.AUDIT_MISSING,
        org_id=org_id,
        subject=execution_id,
        here=status.value,
        there=", ".join(ends) or "no entry of its end",
    )
