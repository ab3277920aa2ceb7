"""Executions are called off: at once while they wait, by their worker once they run."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import select, update

from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.execution_queries import ExecutionRecord
from domain.executions import (
    CANCELLED,
    FINAL,
    ExecutionNotFound,
    ExecutionStatus,
    TransitionRefused,
)
from domain.ids import ExecutionId
from persistence.audit import add_audit
from persistence.execution_details import get_record, list_attempts
from persistence.execution_moves import FinishedExecution, finish_executions
from persistence.sessions import OrgSession
from persistence.tables import ExecutionRow, WorkflowRow


@dataclass(frozen=True, slots=True)
class Cancellation:
    """An execution that is cancelled, or about to be."""

    record: ExecutionRecord
    was_cancelled: bool
    """It had been cancelled before, and nothing was done."""


def request_cancel(session: OrgSession, execution_id: ExecutionId) -> Cancellation:
    """Ask for an execution's end, with the audit entry. Asking again changes nothing.

    One that waits in the queue is CANCELLED when this returns, whether it has run before or not.
    One that a run carries is ended by its worker, who reads `cancel_requested_at`.

    Raises:
        ExecutionNotFound: this organization has no such execution.
        TransitionRefused: it has completed or failed.
    """
    # The lock waits for a worker that is just claiming it, and keeps others from doing so.
    row = session.execute(
        select(
            ExecutionRow.status,
            ExecutionRow.run_id,
            ExecutionRow.workflow_id,
            ExecutionRow.cancel_requested_at,
        )
        .where(ExecutionRow.id == execution_id)
        .with_for_update()
    ).first()
    if row is None:
        raise ExecutionNotFound(execution_id)
    status = ExecutionStatus(row.status)
    if status is ExecutionStatus.CANCELLED:
        return Cancellation(get_record(session, execution_id), was_cancelled=True)
    if status in FINAL:
        raise TransitionRefused(execution_id, current=status, wanted=ExecutionStatus.CANCELLED)
    if row.cancel_requested_at is None:
        _note_request(session, execution_id, row.workflow_id)
    if row.run_id is None:
        _end(session, execution_id)
    return Cancellation(get_record(session, execution_id), was_cancelled=False)


def _note_request(session: OrgSession, execution_id: ExecutionId, workflow_id: str) -> None:
    now = utc_now()
    session.execute(
        update(ExecutionRow).where(ExecutionRow.id == execution_id).values(cancel_requested_at=now)
    )
    # The end below changes the workflow's counters. All writers lock executions, workflow and
    # audit trail in this order, and the entry that comes first would turn it round.
    session.execute(
        select(WorkflowRow.id).where(WorkflowRow.id == workflow_id).with_for_update(key_share=True)
    )
    entry = AuditEntry(
        action="execution.cancel_requested",
        resource_type="execution",
        resource_id=execution_id,
        success=True,
        timestamp=now,
        user_id=session.user_id,
    )
    add_audit(session, [entry])


def _end(session: OrgSession, execution_id: ExecutionId) -> None:
    # One that came back to the queue after its worker was lost has spent something.
    attempts = list_attempts(session, execution_id)
    ended = FinishedExecution(
        id=execution_id,
        status=ExecutionStatus.CANCELLED,
        error=CANCELLED,
        agent_results={},
        execution_graph={},
        tokens_used=sum(attempt.tokens_used for attempt in attempts),
        cost=sum((attempt.cost for attempt in attempts), Decimal(0)),
    )
    finish_executions(session, [ended], at=utc_now(), started_at=None, state=None)
