"""Executions: their statuses, which status may follow which, and what one looks like."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.errors import ErrorCode, TenantryError
from domain.ids import ExecutionId, OrgId, RunId, UserId, WorkflowId
from domain.json_data import JsonObject


class ExecutionStatus(StrEnum):
    """Where an execution stands. The last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Trigger(StrEnum):
    """What asked for an execution."""

    API = "api"
    CLI = "cli"
    SCHEDULE = "schedule"
    PREFECT_UI = "prefect_ui"
    BATCH = "batch"
    REPLAY = "replay"


FINAL = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED})

# PENDING may end without running: cancelled in the queue, refused input, a run that crashed at
# its start, or a history of which only the end is left. RUNNING never goes back to PENDING: an
# execution that returns to the queue after its worker was lost keeps its status, and waits with
# no run and `attempt` one higher.
TRANSITIONS: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = {
    ExecutionStatus.PENDING: frozenset({ExecutionStatus.RUNNING}) | FINAL,
    ExecutionStatus.RUNNING: frozenset({ExecutionStatus.PAUSED}) | FINAL,
    ExecutionStatus.PAUSED: frozenset({ExecutionStatus.RUNNING}) | FINAL,
    ExecutionStatus.COMPLETED: frozenset(),
    ExecutionStatus.FAILED: frozenset(),
    ExecutionStatus.CANCELLED: frozenset(),
}


def can_follow(current: ExecutionStatus, wanted: ExecutionStatus) -> bool:
    """Say whether `wanted` may directly follow `current`."""
    return wanted in TRANSITIONS[current]


def sources(wanted: ExecutionStatus) -> frozenset[ExecutionStatus]:
    """List the statuses that lead to `wanted`: the guard of the UPDATE that writes it."""
    return frozenset(status for status, after in TRANSITIONS.items() if wanted in after)


@dataclass(frozen=True, slots=True)
class ExecutionError:
    """Why an execution failed: kept together, so that a row never has a code without its hint."""

    code: ErrorCode
    message: str
    hint: str


CANCELLED = ExecutionError(
    ErrorCode.EXECUTION_CANCELLED,
    "The execution was cancelled.",
    "Run it again if it is still needed.",
)
DEADLINE_PASSED = ExecutionError(
    ErrorCode.EXECUTION_DEADLINE_PASSED,
    "The execution had not ended when its deadline passed.",
    "Run it again with a later deadline, or none. `started_at` tells whether it waited or ran.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One request to run one workflow version on one input. Times are aware UTC."""

    id: ExecutionId
    org_id: OrgId
    workflow_id: WorkflowId
    workflow_version: int
    status: ExecutionStatus
    trigger: Trigger
    input_data: JsonObject
    priority: int
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_seconds: float | None = None
    output: JsonObject | None = None
    error: ExecutionError | None = None
    agent_results: JsonObject | None = None
    execution_graph: JsonObject | None = None
    tokens_used: int = 0
    cost: Decimal = Decimal(0)
    requested_by: UserId | None = None
    run_id: RunId | None = None
    idempotency_key: str | None = None
    replay_of: ExecutionId | None = None
    cancel_requested_at: datetime | None = None
    deadline: datetime | None = None
    prefect_state_id: str | None = None
    prefect_state_at: datetime | None = None
    prefect_flow_run_id: str | None = None


@dataclass(slots=True)
class CarriedExecution:
    """Of an execution that a run carries, what says how it ends with that run."""

    id: ExecutionId
    status: ExecutionStatus
    attempt: int
    cancel_requested_at: datetime | None
    deadline: datetime | None


@dataclass(slots=True)
class WorkItem(CarriedExecution):
    """The same, and what its agents are given."""

    input_data: JsonObject


class ExecutionNotFound(TenantryError):
    """This organization has no such execution."""

    code = ErrorCode.EXECUTION_NOT_FOUND

    def __init__(self, execution_id: str) -> None:
        super().__init__(
            f"There is no execution `{execution_id}` in this organization.",
            hint="Check the id; `tenantry executions list` shows the newest ones.",
        )


class TransitionRefused(TenantryError):
    """An execution's status does not lead to the one asked for."""

    code = ErrorCode.EXECUTION_TRANSITION_REFUSED

    def __init__(
        self, execution_id: str, *, current: ExecutionStatus, wanted: ExecutionStatus
    ) -> None:
        super().__init__(
            f"Execution `{execution_id}` is {current.value} and cannot become {wanted.value}.",
            hint="A final execution stays as it is: start a new one, or replay it.",
        )
        self.current, self.wanted = current, wanted


class LeaseLost(TenantryError):
    """A worker writes for a run that was taken from it."""

    code = ErrorCode.LEASE_LOST

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"The lease on run `{run_id}` is lost: another worker has its executions now.",
            hint="Nothing was written, and nothing needs to be done.",
        )
