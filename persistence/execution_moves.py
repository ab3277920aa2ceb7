"""Status changes of executions: each one guarded UPDATE, with counters and audit beside it.

All of them take the rows of one run at once, and lock in one order (executions, workflow, audit
head), so that writers of one organization wait for each other instead of dying in a deadlock.
"""

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, case, func, literal, or_, text, update

from domain.audit import AuditEntry
from domain.execution_ends import make_end_entry
from domain.executions import ExecutionError, ExecutionStatus, sources
from domain.ids import ExecutionId, RunId, WorkflowId
from domain.json_data import JsonObject, JsonValue
from domain.lost_runs import Loss
from domain.runs import RunState
from persistence.audit import add_audit
from persistence.happenings_log import log_when_committed
from persistence.queue_heads import wake_head
from persistence.run_losses import add_isolations
from persistence.sessions import OrgSession
from persistence.tables import ExecutionRow, WorkflowRow


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedExecution:
    """A final status and all that belongs to it."""

    id: ExecutionId
    status: ExecutionStatus
    output: JsonObject | None = None
    error: ExecutionError | None = None
    agent_results: JsonObject
    execution_graph: JsonObject
    tokens_used: int = 0
    cost: Decimal = Decimal(0)


def start_executions(
    session: OrgSession,
    run_id: RunId,
    *,
    state: RunState,
    at: datetime,
    resume: bool = True,
) -> int:
    """Mark a run's waiting executions as running since `at`; return how many changed.

    Args:
        resume: also those that are paused.
    """
    leading = sources(ExecutionStatus.RUNNING) - (set() if resume else {ExecutionStatus.PAUSED})
    rows = session.execute(
        update(ExecutionRow)
        .where(
            *_open_in(run_id, leading),
            # One whose time was over in between never starts: its worker asks no agent for it.
            or_(ExecutionRow.deadline.is_(None), ExecutionRow.deadline > at),
        )
        .values(
            status=ExecutionStatus.RUNNING.value,
            started_at=func.coalesce(
                ExecutionRow.started_at, func.greatest(at, ExecutionRow.created_at)
            ),
            prefect_state_id=state.id,
            prefect_state_at=state.at,
        )
        .returning(ExecutionRow.id, ExecutionRow.requested_by, ExecutionRow.attempt)
    ).all()
    entries = [
        _entry("started", row.id, row.requested_by, at, {"run_id": run_id, "attempt": row.attempt})
        for row in rows
    ]
    add_audit(session, entries)
    log_when_committed(
        session,
        (("execution.started", r.id, f"run_id={run_id} attempt={r.attempt}") for r in rows),
    )
    return len(rows)


def pause_executions(session: OrgSession, run_id: RunId, *, state: RunState) -> int:
    """Mark a run's running executions as waiting for a person; return how many changed."""
    rows = session.execute(
        update(ExecutionRow)
        .where(
            *_open_in(run_id, sources(ExecutionStatus.PAUSED)),
        )
        .values(
            status=ExecutionStatus.PAUSED.value,
            prefect_state_id=state.id,
            prefect_state_at=state.at,
        )
        .returning(ExecutionRow.id, ExecutionRow.requested_by)
    ).all()
    entries = [
        _entry("paused", row.id, row.requested_by, state.at, {"run_id": run_id}) for row in rows
    ]
    add_audit(session, entries)
    return len(rows)


def set_started_late(session: OrgSession, run_id: RunId, *, at: datetime) -> None:
    """Fill in when finished executions started, where only their end was heard of in time."""
    session.execute(
        update(ExecutionRow)
        .where(
            ExecutionRow.run_id == run_id,
            ExecutionRow.started_at.is_(None),
            ExecutionRow.completed_at >= at,
        )
        .values(
            started_at=func.greatest(at, ExecutionRow.created_at),
            duration_seconds=func.extract(
                "epoch", ExecutionRow.completed_at - func.greatest(at, ExecutionRow.created_at)
            ),
        )
    )


# One statement for the whole batch: the rows travel as one JSON array.
_FINISH = text("""
update executions e set
    status = r.status, output = r.output, error = r.error, error_code = r.error_code,
    error_hint = r.error_hint, agent_results = r.agent_results,
    execution_graph = r.execution_graph, tokens_used = r.tokens_used, cost = r.cost,
    -- `greatest` passes over a null: an execution that never started has no start.
    started_at = coalesce(e.started_at, case when cast(:started_at as timestamptz) is not null
        then greatest(cast(:started_at as timestamptz), e.created_at) end),
    completed_at = greatest(
        :at, e.created_at, coalesce(e.started_at, cast(:started_at as timestamptz))
    ),
    duration_seconds = extract(epoch from
        greatest(:at, e.created_at, coalesce(e.started_at, cast(:started_at as timestamptz)))
        - coalesce(e.started_at, case when cast(:started_at as timestamptz) is not null
            then greatest(cast(:started_at as timestamptz), e.created_at) end)),
    prefect_state_id = coalesce(cast(:state_id as uuid), e.prefect_state_id),
    prefect_state_at = coalesce(cast(:state_at as timestamptz), e.prefect_state_at)
from jsonb_to_recordset(cast(:rows as jsonb)) as r(
    id text, status text, output jsonb, error text, error_code text, error_hint text,
    agent_results jsonb, execution_graph jsonb, tokens_used bigint, cost numeric)
-- The sources are all but the final ones, and by the status the planner would walk all that wait.
where e.id = r.id and e.completed_at is null and (e.status || '') = any(:sources)
returning e.id, e.workflow_id, e.status, e.error, e.error_code, e.requested_by, e.completed_at,
    e.run_id
""")


def finish_executions(
    session: OrgSession,
    finished: Sequence[FinishedExecution],
    *,
    at: datetime,
    started_at: datetime | None,
    state: RunState | None,
) -> int:
    """Give executions their final status; return how many got it.

    Those that are final already stay as they are, so of two racing writers exactly one wins,
    and the counters and the audit trail count each execution once.

    Args:
        at: when they ended. `started_at` fills in a start that was never heard of.
        state: the Prefect state that says so; `None` where none does (cancelled in the queue).
    """
    if not finished:
        return 0
    order = sorted(finished, key=lambda item: item.id)
    rows = session.execute(
        _FINISH,
        {
            "rows": json.dumps([_finish_row(item) for item in order], allow_nan=False),
            "at": at,
            "started_at": min(started_at, at) if started_at else None,
            "state_id": state.id if state else None,
            "state_at": state.at if state else None,
            "sources": [s.value for s in sources(ExecutionStatus.COMPLETED)],
        },
    ).all()
    _count(session, [(WorkflowId(r.workflow_id), ExecutionStatus(r.status)) for r in rows])
    entries = [
        make_end_entry(
            row.id,
            row.workflow_id,
            status=ExecutionStatus(row.status),
            at=row.completed_at,
            user_id=row.requested_by,
            error=row.error,
            error_code=row.error_code,
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]
    add_audit(session, entries)
    log_when_committed(
        session,
        (
            (
                "execution.ended",
                row.id,
                f"run_id={row.run_id} status={row.status} code={row.error_code}",
            )
            for row in rows
        ),
    )
    return len(rows)


def requeue_executions(
    session: OrgSession, ids: Sequence[ExecutionId], *, run_id: RunId, at: datetime, loss: Loss
) -> int:
    """Give a lost run's executions back to the queue; return how many.

    They keep their status: nothing that has run becomes PENDING again. What was paused runs on,
    as the run that somebody could resume is gone.

    Args:
        loss: what is known of the run, which says whether this costs an attempt and how many of
            them the next run may carry.
    """
    next_size = loss.next_size
    rows = session.execute(
        update(ExecutionRow)
        .where(
            ExecutionRow.id.in_(ids),
            ExecutionRow.run_id == run_id,
            ExecutionRow.completed_at.is_(None),
        )
        .values(
            run_id=None,
            lease_token=None,
            attempt=ExecutionRow.attempt + int(loss.costs_attempt),
            run_size_limit=ExecutionRow.run_size_limit if next_size is None else next_size,
            is_isolated=ExecutionRow.is_isolated
            if next_size is None
            else or_(
                ExecutionRow.is_isolated,
                ExecutionRow.run_size_limit.is_not(None),
                literal(loss.isolates),
            ),
            requeued_at=at,
            status=case(
                (
                    ExecutionRow.status == ExecutionStatus.PAUSED.value,
                    ExecutionStatus.RUNNING.value,
                ),
                else_=ExecutionRow.status,
            ),
        )
        .returning(
            ExecutionRow.id,
            ExecutionRow.requested_by,
            ExecutionRow.attempt,
            ExecutionRow.priority,
            ExecutionRow.created_at,
        )
    ).all()
    _wake_head(session, [(row.priority, row.created_at) for row in rows])
    entries = [
        _entry("requeued", row.id, row.requested_by, at, {"run_id": run_id, "attempt": row.attempt})
        for row in sorted(rows, key=lambda row: row.id)
    ]
    add_audit(session, entries)
    add_isolations(session, ids)
    return len(rows)


def _wake_head(session: OrgSession, waiting: Sequence[tuple[int, datetime]]) -> None:
    first: dict[int, datetime] = {}
    for priority, created_at in waiting:
        first[priority] = min(first.get(priority, created_at), created_at)
    if first:
        wake_head(session, first)


def _open_in(
    run_id: RunId, statuses: AbstractSet[ExecutionStatus]
) -> tuple[ColumnElement[bool], ...]:
    # By the run's index, which is why the status is hidden from the planner: it knows little of
    # a queue that has just been filled, and would walk all that wait to find those of a run.
    return (
        ExecutionRow.run_id == run_id,
        ExecutionRow.completed_at.is_(None),
        (ExecutionRow.status + "").in_([status.value for status in statuses]),
    )


def _count(session: OrgSession, ended: Sequence[tuple[WorkflowId, ExecutionStatus]]) -> None:
    for workflow_id in sorted({workflow_id for workflow_id, _ in ended}):
        statuses = [status for id, status in ended if id == workflow_id]
        session.execute(
            update(WorkflowRow)
            .where(WorkflowRow.id == workflow_id)
            .values(
                execution_count=WorkflowRow.execution_count + len(statuses),
                success_count=WorkflowRow.success_count + statuses.count(ExecutionStatus.COMPLETED),
                failure_count=WorkflowRow.failure_count + statuses.count(ExecutionStatus.FAILED),
                cancelled_count=WorkflowRow.cancelled_count
                + statuses.count(ExecutionStatus.CANCELLED),
                updated_at=func.now(),
            )
        )


def _finish_row(item: FinishedExecution) -> dict[str, JsonValue]:
    error = item.error
    return {
        "id": item.id,
        "status": item.status.value,
        "output": item.output,
        "error": error.message if error else None,
        "error_code": error.code.value if error else None,
        "error_hint": error.hint if error else None,
        "agent_results": item.agent_results,
        "execution_graph": item.execution_graph,
        "tokens_used": item.tokens_used,
        "cost": str(item.cost),
    }


def _entry(
    what: str,
    execution_id: str,
    user_id: str | None,
    at: datetime,
    details: JsonObject,
) -> AuditEntry:
    return AuditEntry(
        action=f"execution.{what}",
        resource_type="execution",
        resource_id=execution_id,
        success=True,
        timestamp=at,
        user_id=user_id,
        details=details,
    )
