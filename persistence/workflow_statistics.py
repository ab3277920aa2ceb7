"""What is known of a workflow's executions beyond the counters of its row."""

from collections.abc import Mapping

from sqlalchemy import func, select

from domain.catalog import RecentExecutions
from domain.executions import ExecutionStatus
from domain.ids import WorkflowId
from persistence.sessions import OrgSession
from persistence.tables import ExecutionRow

# So many of the newest are looked at: an answer must not take longer as a workflow grows older.
RECENT = 1_000
_OPEN = (ExecutionStatus.PENDING, ExecutionStatus.RUNNING, ExecutionStatus.PAUSED)


def count_open(session: OrgSession, workflow_id: WorkflowId) -> Mapping[ExecutionStatus, int]:
    """Count the executions of a workflow that have not ended, by status."""
    rows = session.execute(
        select(ExecutionRow.status, func.count())
        .where(
            ExecutionRow.workflow_id == workflow_id,
            ExecutionRow.status.in_([status.value for status in _OPEN]),
        )
        .group_by(ExecutionRow.status)
    )
    found = {ExecutionStatus(status): count for status, count in rows}
    return {status: found.get(status, 0) for status in _OPEN}


def measure_recent(session: OrgSession, workflow_id: WorkflowId) -> RecentExecutions:
    """Measure the ended ones among the newest 1,000 executions of a workflow."""
    newest = (
        select(
            ExecutionRow.duration_seconds,
            ExecutionRow.tokens_used,
            ExecutionRow.cost,
            ExecutionRow.completed_at,
        )
        .where(ExecutionRow.workflow_id == workflow_id)
        .order_by(ExecutionRow.id.desc())
        .limit(RECENT)
        .subquery()
    )
    duration = newest.c.duration_seconds
    count, p50, p95, tokens, cost = session.execute(
        select(
            func.count(),
            func.percentile_cont(0.5).within_group(duration),
            func.percentile_cont(0.95).within_group(duration),
            func.coalesce(func.sum(newest.c.tokens_used), 0),
            func.coalesce(func.sum(newest.c.cost), 0),
        ).where(newest.c.completed_at.is_not(None))
    ).one()
    return RecentExecutions(
        count=count,
        duration_p50_s=p50,
        duration_p95_s=p95,
        tokens_used=int(tokens),
        cost=cost,
    )
