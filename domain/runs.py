"""Runs: one Prefect flow run each, and what its state history means for its executions."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.executions import ExecutionStatus, Trigger
from domain.ids import ExecutionId, OrgId, RunId, WorkflowId


class StateType(StrEnum):
    """Prefect's state types, by their own names."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"


RESUMING = "Resuming"
"""Prefect's name for the state of a suspended run that was resumed, until a worker has it."""

TERMINAL = frozenset(
    {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED}
)


@dataclass(frozen=True, slots=True)
class RunState:
    """One Prefect state of a run: its id there, type, name and time (aware UTC)."""

    id: UUID
    type: StateType
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One Prefect flow run, which carries one or more executions of one workflow version."""

    id: RunId
    org_id: OrgId
    workflow_id: WorkflowId
    workflow_version: int
    lease_token: UUID
    prefect_flow_run_id: UUID | None = None
    closed_as: StateType | None = None
    """The terminal state that closed it; `None` while it is open."""


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that a worker has just claimed, with the executions that it carries, in order."""

    run: Run
    execution_ids: Sequence[ExecutionId]
    trigger: Trigger


class Ending(StrEnum):
    """How a run ended, for the executions that it still carries."""

    BY_AGENTS = "by_agents"
    """Each execution's own agent runs decide."""
    TIMED_OUT = "timed_out"
    """As by_agents; one whose agents left no answer ran out of time."""
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    """An execution's own end: its time was over before every agent had answered."""
    LOST = "lost"
    """Finished executions end by their agent runs, the others go back to the queue."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's state history says, whatever the order in which it was heard of.

    `status` is the status of an execution that is not finished; `ending` is set when the newest
    state is terminal.
    """

    status: ExecutionStatus
    latest: RunState
    started_at: datetime | None
    ending: Ending | None


def read_history(states: Iterable[RunState]) -> RunFacts:
    """Reduce a run's known states to what its executions need to know.

    A pure function of the SET of states: repeated and late deliveries change nothing. Prefect
    keeps the times of one run's states distinct; the id breaks a tie all the same.

    Raises:
        ValueError: there are no states.
    """
    history = sorted(set(states), key=lambda state: (state.at, state.id))
    if not history:
        raise ValueError("a run without states has no history")
    latest = history[-1]
    started_at = next((s.at for s in history if s.type is StateType.RUNNING), None)
    return RunFacts(
        status=_status(latest, started=started_at is not None),
        latest=latest,
        started_at=started_at,
        ending=_ending(history),
    )


def closing_type(facts: RunFacts, ended_before: Collection[ExecutionStatus] | None) -> StateType:
    """Say in which state Prefect shall have a run that has ended, from then on.

    It is what the run's newest state means for the executions: a run that crashed while it was
    being cancelled was cancelled.

    Args:
        ended_before: how the run's executions stand, if all of them had ended before it did;
            `None` while it still carried some. A worker that calls off all that its run carries
            breaks the run off, which looks like a crash.

    Raises:
        ValueError: the run has not ended.
    """
    match facts.ending:
        case None:
            raise ValueError("a run that goes on has no closing state")
        case Ending.BY_AGENTS:
            return facts.latest.type
        case Ending.CANCELLED:
            return StateType.CANCELLED
        case Ending.TIMED_OUT | Ending.DEADLINE:
            return StateType.FAILED
        case Ending.LOST:
            if not ended_before:
                return StateType.CRASHED
            if ExecutionStatus.COMPLETED in ended_before:
                return StateType.COMPLETED
            if ExecutionStatus.FAILED in ended_before:
                return StateType.FAILED
            return StateType.CANCELLED


def _status(latest: RunState, *, started: bool) -> ExecutionStatus:
    if latest.type is StateType.PAUSED or latest.name == RESUMING:
        return ExecutionStatus.PAUSED
    # AwaitingRetry has run; Cancelling is not final yet: both stay RUNNING once they were.
    return ExecutionStatus.RUNNING if started else ExecutionStatus.PENDING


def _ending(history: Sequence[RunState]) -> Ending | None:
    latest = history[-1]
    match latest.type:
        case StateType.COMPLETED:
            return Ending.BY_AGENTS
        case StateType.FAILED:
            return Ending.TIMED_OUT if latest.name == "TimedOut" else Ending.BY_AGENTS
        case StateType.CANCELLED:
            return Ending.CANCELLED
        case StateType.CRASHED:
            # Killed because we asked for it: Prefect writes Crashed over Cancelling by force.
            return Ending.CANCELLED if _was_cancelling(history) else Ending.LOST
        case _:
            return None


def _was_cancelling(history: Sequence[RunState]) -> bool:
    for state in reversed(history[:-1]):
        if state.type is StateType.CANCELLING:
            return True
        if state.type is StateType.SCHEDULED:
            return False
    return False
