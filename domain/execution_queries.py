"""What is asked about executions, and the shapes of the answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.errors import ErrorCode
from domain.executions import Execution, ExecutionError, ExecutionStatus, Trigger
from domain.ids import AgentRunId, ExecutionId, RunId, UserId, WorkflowId


class Order(StrEnum):
    """Which executions come first."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFilter:
    """Which executions are asked for; what is left out does not narrow.

    `created_after` is included, `created_before` is not, so that ranges can stand side by side.
    All of `labels` must be there.
    """

    workflow_id: WorkflowId | None = None
    statuses: frozenset[ExecutionStatus] = frozenset()
    trigger: Trigger | None = None
    error_code: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    requested_by: str | None = None
    batch_id: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def narrows_by_status(self) -> bool:
        """Say whether executions of some statuses are left out."""
        return 0 < len(self.statuses) < len(ExecutionStatus)

    @property
    def narrows_by_labels_only(self) -> bool:
        """Say whether labels, and perhaps a range of time, are all that executions must have."""
        others = replace(
            self, labels=(), statuses=frozenset(), created_after=None, created_before=None
        )
        return bool(self.labels) and not self.narrows_by_status and others == ExecutionFilter()

    @property
    def is_by_time(self) -> bool:
        """Say whether the list is in order of time and then id, and not of the id alone.

        Both are the same order but for clocks that were set back. Each has its own indexes: those
        of a range of time, of labels and of everything are in order of time.
        """
        return (
            self.created_after is not None
            or self.created_before is not None
            or bool(self.labels)
            or (self == ExecutionFilter(statuses=self.statuses) and not self.narrows_by_status)
        )


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list: the last execution that was shown."""

    created_at: datetime
    id: ExecutionId


@dataclass(frozen=True, slots=True)
class Total:
    """How many there are: counted, or estimated where counting would take long."""

    count: int
    is_estimate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSummary:
    """An execution without what went in and came out."""

    id: ExecutionId
    workflow_id: WorkflowId
    workflow_version: int
    status: ExecutionStatus
    trigger: Trigger
    priority: int
    attempt: int
    requested_by: UserId | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    deadline: datetime | None
    cancel_requested_at: datetime | None
    error: ExecutionError | None
    tokens_used: int
    cost: Decimal
    labels: dict[str, str]
    batch_id: str | None
    replay_of: ExecutionId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """An execution whole, with what its requester attached to it."""

    execution: Execution
    labels: dict[str, str] = field(default_factory=dict[str, str])
    batch_id: str | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAttempt:
    """One attempt of one agent, without its answer."""

    id: AgentRunId
    run_id: RunId
    agent_name: str
    attempt: int
    error: ExecutionError | None
    is_retryable: bool
    started_at: datetime
    completed_at: datetime
    duration_seconds: float
    tokens_used: int
    cost: Decimal


class Happening(StrEnum):
    """What can happen to an execution; in this order where two have the same time."""

    CREATED = "execution.created"
    STARTED = "execution.started"
    AGENT_STARTED = "agent.started"
    AGENT_COMPLETED = "agent.completed"
    AGENT_FAILED = "agent.failed"
    PAUSED = "execution.paused"
    REQUEUED = "execution.requeued"
    CANCEL_REQUESTED = "execution.cancel_requested"
    COMPLETED = "execution.completed"
    FAILED = "execution.failed"
    CANCELLED = "execution.cancelled"


# What only the audit trail knows: the row keeps no trace of it.
AUDITED_HAPPENINGS = (Happening.PAUSED, Happening.REQUEUED, Happening.CANCEL_REQUESTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """Something that happened to an execution, and when."""

    at: datetime
    event: Happening
    agent_name: str | None = None
    attempt: int | None = None
    user_id: UserId | None = None
    error_code: ErrorCode | None = None


def make_timeline(
    summary: ExecutionSummary,
    attempts: Sequence[AgentAttempt],
    audited: Sequence[TimelineEvent],
) -> list[TimelineEvent]:
    """Put all that is known of an execution's life in order of time."""
    found = [
        TimelineEvent(at=summary.created_at, event=Happening.CREATED, user_id=summary.requested_by),
        *audited,
    ]
    # One that is cancelled in the queue gets its creation as its start: it has none.
    in_queue = summary.status is ExecutionStatus.CANCELLED and not attempts
    if summary.started_at is not None and not (
        in_queue and summary.started_at == summary.created_at
    ):
        found.append(TimelineEvent(at=summary.started_at, event=Happening.STARTED))
    for attempt in attempts:
        found.extend(_events_of(attempt))
    if summary.completed_at is not None:
        found.append(
            TimelineEvent(
                at=summary.completed_at,
                event=Happening(f"execution.{summary.status.value.lower()}"),
                error_code=summary.error.code if summary.error else None,
            )
        )
    ranks = {happening: rank for rank, happening in enumerate(Happening)}
    return sorted(found, key=lambda event: (event.at, ranks[event.event]))


def _events_of(attempt: AgentAttempt) -> tuple[TimelineEvent, TimelineEvent]:
    name, number, error = attempt.agent_name, attempt.attempt, attempt.error
    end = Happening.AGENT_FAILED if error else Happening.AGENT_COMPLETED
    return (
        TimelineEvent(
            at=attempt.started_at,
            event=Happening.AGENT_STARTED,
            agent_name=name,
            attempt=number,
        ),
        TimelineEvent(
            at=attempt.completed_at,
            event=end,
            agent_name=name,
            attempt=number,
            error_code=error.code if error else None,
        ),
    )
