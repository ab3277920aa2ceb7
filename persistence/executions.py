"""Executions as rows: add, find, list."""

from typing import Any, cast
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.dialects.postgresql import insert

from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.errors import ErrorCode, TenantryError
from domain.executions import (
    CarriedExecution,
    Execution,
    ExecutionError,
    ExecutionNotFound,
    ExecutionStatus,
    Trigger,
    WorkItem,
)
from domain.ids import (
    ExecutionId,
    OrgId,
    RunId,
    ScheduleId,
    UserId,
    WorkflowId,
    new_execution_id,
)
from domain.json_data import JsonObject
from domain.runs import Run
from persistence.audit import add_audit
from persistence.sessions import OrgSession
from persistence.tables import ExecutionRow, RunRow


class IdempotencyConflict(TenantryError):
    """A key was used before, for something else."""

    code = ErrorCode.EXECUTION_IDEMPOTENCY_CONFLICT

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The idempotency key `{key}` was used for another request.",
            hint="Use a new key for a new request, or repeat the first one unchanged.",
        )


def add_execution(
    session: OrgSession,
    workflow_id: WorkflowId,
    *,
    version: int,
    input_data: JsonObject,
    trigger: Trigger,
    priority: int = 3,
    idempotency_key: str | None = None,
    replay_of: ExecutionId | None = None,
    schedule_id: ScheduleId | None = None,
    run: Run | None = None,
) -> Execution:
    """Queue an execution, with its audit entry; with a known key, return the first one.

    Args:
        run: the run that carries it from the start, where Prefect made one; it never queues.

    Raises:
        IdempotencyConflict: the key belongs to another workflow, version, input or priority.
    """
    added = session.scalar(
        insert(ExecutionRow)
        .values(
            id=new_execution_id(),
            org_id=session.org_id,
            workflow_id=workflow_id,
            workflow_version=version,
            input_data=input_data,
            trigger=trigger.value,
            priority=priority,
            idempotency_key=idempotency_key,
            requested_by=session.user_id,
            replay_of=replay_of,
            run_id=run.id if run else None,
            lease_token=run.lease_token if run else None,
            created_at=utc_now(),
        )
        .on_conflict_do_nothing(index_elements=["org_id", "idempotency_key"])
        .returning(ExecutionRow)
    )
    if added is None:
        return _same_or_refuse(
            session,
            str(idempotency_key),
            workflow_id=workflow_id,
            input_data=input_data,
            priority=priority,
        )
    add_audit(session, [_created(added, schedule_id)])
    return to_execution(added)


def find_by_key(session: OrgSession, idempotency_key: str) -> Execution | None:
    """Find the execution that was queued under a key."""
    query = select(ExecutionRow).where(ExecutionRow.idempotency_key == idempotency_key)
    row = session.scalar(query)
    return to_execution(row) if row else None


def get_execution(session: OrgSession, execution_id: ExecutionId) -> Execution:
    """Read one execution whole.

    Raises:
        ExecutionNotFound: this organization has no such execution.
    """
    found = session.execute(_with_run().where(ExecutionRow.id == execution_id)).first()
    if found is None:
        raise ExecutionNotFound(execution_id)
    return to_execution(found[0], prefect_flow_run_id=found[1])


def list_executions(
    session: OrgSession,
    *,
    workflow_id: WorkflowId | None = None,
    status: ExecutionStatus | None = None,
    before: ExecutionId | None = None,
    limit: int = 50,
) -> list[Execution]:
    """List the newest executions first; `before` is the last id of the page before."""
    query = _with_run().order_by(ExecutionRow.id.desc()).limit(limit)
    if workflow_id is not None:
        query = query.where(ExecutionRow.workflow_id == workflow_id)
    if status is not None:
        query = query.where(ExecutionRow.status == status.value)
    if before is not None:
        query = query.where(ExecutionRow.id < before)
    return [to_execution(row, prefect_flow_run_id=flow) for row, flow in session.execute(query)]


def list_carried(session: OrgSession, run_id: RunId) -> list[Execution]:
    """List the executions that a run carries now, oldest first."""
    # Columns and not objects: a run's worth of them is read at once.
    query = (
        select(*ExecutionRow.__table__.columns)
        .where(ExecutionRow.run_id == run_id)
        .order_by(ExecutionRow.id)
    )
    return [to_execution(row) for row in session.execute(query)]


def list_endings(session: OrgSession, run_id: RunId) -> list[CarriedExecution]:
    """List of a run's executions, oldest first, what says how they end: no input, no output."""
    query = select(*_ENDING).where(ExecutionRow.run_id == run_id).order_by(ExecutionRow.id)
    return [
        CarriedExecution(ExecutionId(id), ExecutionStatus(status), *others)
        for id, status, *others in session.execute(query)
    ]


def list_work(session: OrgSession, run_id: RunId) -> list[WorkItem]:
    """List of a run's executions, oldest first, what their agents need."""
    query = (
        select(*_ENDING, ExecutionRow.input_data)
        .where(ExecutionRow.run_id == run_id)
        .order_by(ExecutionRow.id)
    )
    return [
        WorkItem(ExecutionId(id), ExecutionStatus(status), *others)
        for id, status, *others in session.execute(query)
    ]


_ENDING = (
    ExecutionRow.id,
    ExecutionRow.status,
    ExecutionRow.attempt,
    ExecutionRow.cancel_requested_at,
    ExecutionRow.deadline,
)


def _created(row: ExecutionRow, schedule_id: ScheduleId | None) -> AuditEntry:
    details: JsonObject = {
        "workflow_id": row.workflow_id,
        "version": row.workflow_version,
        "trigger": row.trigger,
    }
    if schedule_id is not None:
        details["schedule_id"] = schedule_id
    return AuditEntry(
        action="execution.created",
        resource_type="execution",
        resource_id=row.id,
        success=True,
        timestamp=row.created_at,
        user_id=row.requested_by,
        details=details,
    )


def _with_run() -> Select[tuple[ExecutionRow, UUID | None]]:
    return select(ExecutionRow, RunRow.prefect_flow_run_id).outerjoin(
        RunRow, RunRow.id == ExecutionRow.run_id
    )


def _same_or_refuse(
    session: OrgSession,
    key: str,
    *,
    workflow_id: WorkflowId,
    input_data: JsonObject,
    priority: int,
) -> Execution:
    row = session.scalars(select(ExecutionRow).where(ExecutionRow.idempotency_key == key)).one()
    known = (row.workflow_id, row.input_data, row.priority)
    if known != (workflow_id, input_data, priority):
        raise IdempotencyConflict(key)
    return to_execution(row)


def to_execution(
    row: ExecutionRow | Row[Any], *, prefect_flow_run_id: UUID | None = None
) -> Execution:
    """Turn a row into what the other floors know."""
    error = None
    if row.error_code is not None:
        error = ExecutionError(ErrorCode(row.error_code), row.error or "", row.error_hint or "")
    return Execution(
        id=ExecutionId(row.id),
        org_id=OrgId(row.org_id),
        workflow_id=WorkflowId(row.workflow_id),
        workflow_version=row.workflow_version,
        status=ExecutionStatus(row.status),
        trigger=Trigger(row.trigger),
        input_data=cast(JsonObject, row.input_data),
        priority=row.priority,
        attempt=row.attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        duration_seconds=row.duration_seconds,
        output=row.output,
        error=error,
        agent_results=row.agent_results,
        execution_graph=row.execution_graph,
        tokens_used=row.tokens_used,
        cost=row.cost,
        requested_by=UserId(row.requested_by) if row.requested_by else None,
        run_id=RunId(row.run_id) if row.run_id else None,
        idempotency_key=row.idempotency_key,
        replay_of=ExecutionId(row.replay_of) if row.replay_of else None,
        cancel_requested_at=row.cancel_requested_at,
        deadline=row.deadline,
        prefect_state_id=str(row.prefect_state_id) if row.prefect_state_id else None,
        prefect_state_at=row.prefect_state_at,
        prefect_flow_run_id=str(prefect_flow_run_id) if prefect_flow_run_id else None,
    )
