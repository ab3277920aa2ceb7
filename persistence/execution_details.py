"""One execution whole, its agents' attempts, and what the audit trail knows of it."""

from typing import Any

from sqlalchemy import select

from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.execution_queries import (
    AUDITED_HAPPENINGS,
    AgentAttempt,
    ExecutionRecord,
    Happening,
    TimelineEvent,
)
from domain.executions import ExecutionNotFound
from domain.ids import AgentRunId, ExecutionId, RunId, UserId
from persistence.audit import add_audit
from persistence.execution_lists import to_error
from persistence.executions import to_execution
from persistence.sessions import OrgSession
from persistence.tables import AgentRunRow, AuditRow, ExecutionRow, RunRow

# The trail of one execution has a few of these. The limit is for one that is requeued for ever.
_MAX_AUDITED = 500


def get_record(session: OrgSession, execution_id: ExecutionId) -> ExecutionRecord:
    """Read one execution whole.

    Raises:
        ExecutionNotFound: this organization has no such execution.
    """
    found = session.execute(
        select(ExecutionRow, RunRow.prefect_flow_run_id)
        .outerjoin(RunRow, RunRow.id == ExecutionRow.run_id)
        .where(ExecutionRow.id == execution_id)
    ).first()
    if found is None:
        raise ExecutionNotFound(execution_id)
    row: ExecutionRow = found[0]
    return ExecutionRecord(
        execution=to_execution(row, prefect_flow_run_id=found[1]),
        labels=row.labels,
        batch_id=row.batch_id,
        deadline=row.deadline,
    )


def list_attempts(session: OrgSession, execution_id: ExecutionId) -> list[AgentAttempt]:
    """List every attempt of every agent of an execution, by start."""
    rows = session.execute(
        select(
            AgentRunRow.id,
            AgentRunRow.run_id,
            AgentRunRow.agent_name,
            AgentRunRow.attempt,
            AgentRunRow.error,
            AgentRunRow.error_code,
            AgentRunRow.error_hint,
            AgentRunRow.retryable,
            AgentRunRow.started_at,
            AgentRunRow.completed_at,
            AgentRunRow.duration_seconds,
            AgentRunRow.tokens_used,
            AgentRunRow.cost,
        )
        .where(AgentRunRow.execution_id == execution_id)
        .order_by(AgentRunRow.started_at, AgentRunRow.attempt, AgentRunRow.id)
    )
    return [
        AgentAttempt(
            id=AgentRunId(row.id),
            run_id=RunId(row.run_id),
            agent_name=row.agent_name,
            attempt=row.attempt,
            error=to_error(row.error_code, row.error, row.error_hint),
            is_retryable=row.retryable,
            started_at=row.started_at,
            completed_at=row.completed_at,
            duration_seconds=row.duration_seconds,
            tokens_used=row.tokens_used,
            cost=row.cost,
        )
        for row in rows
    ]


def list_audited(session: OrgSession, execution_id: ExecutionId) -> list[TimelineEvent]:
    """List what happened to an execution and only the audit trail knows."""
    rows = session.execute(
        select(AuditRow.action, AuditRow.timestamp, AuditRow.user_id, AuditRow.details)
        .where(
            AuditRow.resource_id == execution_id,
            AuditRow.action.in_([happening.value for happening in AUDITED_HAPPENINGS]),
        )
        .order_by(AuditRow.seq)
        .limit(_MAX_AUDITED)
    )
    return [
        TimelineEvent(
            at=row.timestamp,
            event=Happening(row.action),
            attempt=_attempt_in(row.details),
            user_id=UserId(row.user_id) if row.user_id else None,
        )
        for row in rows
    ]


def note_output_read(session: OrgSession, execution_id: ExecutionId, media_type: str) -> None:
    """Write into the audit trail that somebody reads an execution's output."""
    entry = AuditEntry(
        action="execution.output_read",
        resource_type="execution",
        resource_id=execution_id,
        success=True,
        timestamp=utc_now(),
        user_id=session.user_id,
        details={"media_type": media_type},
    )
    add_audit(session, [entry])


def _attempt_in(details: dict[str, Any]) -> int | None:
    attempt = details.get("attempt")
    return attempt if isinstance(attempt, int) else None
