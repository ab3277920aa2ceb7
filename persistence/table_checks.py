"""Compare an organization's counters and audit trail with its executions, and put them right."""

from datetime import datetime

from sqlalchemy import and_, or_, select, text

from domain.drift import (
    Counters,
    Drift,
    compare_audit,
    compare_counters,
)
from domain.execution_ends import END_ACTIONS, EXECUTED, make_end_entry
from domain.executions import FINAL, ExecutionStatus
from domain.ids import ExecutionId, WorkflowId
from persistence.audit import add_audit
from persistence.sessions import OrgSession
from persistence.tables import AuditRow, ExecutionRow, WorkflowRow

# One statement, so that counters and executions are of one moment. Without a range all executions
# are read: minutes, on large tables.
_COUNTERS = text("""
select w.id, w.execution_count, w.success_count, w.failure_count, w.cancelled_count,
    count(e.id) as total,
    count(e.id) filter (where e.status = 'COMPLETED') as completed,
    count(e.id) filter (where e.status = 'FAILED') as failed,
    count(e.id) filter (where e.status = 'CANCELLED') as cancelled
from workflows w
left join executions e
    on e.org_id = w.org_id and e.workflow_id = w.id and e.completed_at is not null
group by w.id
having (w.execution_count, w.success_count, w.failure_count, w.cancelled_count)
    <> (count(e.id), count(e.id) filter (where e.status = 'COMPLETED'),
        count(e.id) filter (where e.status = 'FAILED'),
        count(e.id) filter (where e.status = 'CANCELLED'))
order by w.id
""")
_ENDS = """
select e.id, e.status, array_remove(array_agg(a.said), null) as actions
from executions e left join {entries} where e.completed_at is not null {range}
group by e.id, e.status
having count(a.said) <> 1 or min(a.said) <> 'execution.' || lower(e.status)
order by e.id limit :limit
"""
# An end stands in one of two forms: on its execution, or on its workflow and naming it.
_ENTRIES = """
    select org_id, resource_id as execution_id, action as said
    from audit_logs where action = any(:ends) {of_first}
    union all
    select org_id, execution_id, coalesce('execution.' || lower(details ->> 'status'), action)
    from audit_logs where execution_id is not null and action = :executed {of_second}
"""
# Of all, the trail is read once. Of a few, each one's entries are looked up: joined as a whole, the
# planner would read all of the trail for them as well.
_ALL_ENDS = text(
    _ENDS.format(
        entries=f"""({_ENTRIES.format(of_first="", of_second="")}) a
            on a.org_id = e.org_id and a.execution_id = e.id""",
        range="",
    )
)
_ENTRIES_OF_ONE = _ENTRIES.format(
    of_first="and org_id = e.org_id and resource_id = e.id",
    of_second="and org_id = e.org_id and execution_id = e.id",
)
# The events of a span name the executions that moved in it, whenever they were created.
_RECENT_ENDS = text(
    _ENDS.format(
        entries=f"lateral ({_ENTRIES_OF_ONE}) a on true",
        range="""and e.id in (
    select unnest(v.execution_ids) from events v where v.at >= :since)""",
    )
)
_RECOUNT = text("""
update workflows w set execution_count = c.total, success_count = c.completed,
    failure_count = c.failed, cancelled_count = c.cancelled
from (
    select count(*) as total,
        count(*) filter (where status = 'COMPLETED') as completed,
        count(*) filter (where status = 'FAILED') as failed,
        count(*) filter (where status = 'CANCELLED') as cancelled
    from executions where workflow_id = :workflow_id and completed_at is not null
) c where w.id = :workflow_id
""")
_PATIENCE = text("set local statement_timeout = '10min'")


def find_counter_drift(session: OrgSession) -> list[Drift]:
    """Count all executions of all workflows, and compare."""
    session.execute(_PATIENCE)
    found: list[Drift] = []
    for row in session.execute(_COUNTERS):
        kept = Counters(
            row.execution_count, row.success_count, row.failure_count, row.cancelled_count
        )
        counted = Counters(row.total, row.completed, row.failed, row.cancelled)
        drift = compare_counters(session.org_id, row.id, kept=kept, counted=counted)
        if drift is not None:
            found.append(drift)
    return found


def find_audit_drift(
    session: OrgSession, *, since: datetime | None, limit: int = 1_000
) -> list[Drift]:
    """Look for final executions that have not exactly one entry of their end.

    Args:
        since: only executions that moved since then; `None`: all, which takes long.
    """
    session.execute(_PATIENCE)
    values: dict[str, object] = {
        "ends": sorted(END_ACTIONS),
        "executed": EXECUTED,
        "limit": limit,
    }
    statement = _ALL_ENDS
    if since is not None:
        statement, values["since"] = _RECENT_ENDS, since
    found: list[Drift] = []
    for row in session.execute(statement, values):
        status = ExecutionStatus(row.status)
        drift = compare_audit(session.org_id, row.id, status=status, actions=row.actions)
        if drift is not None:
            found.append(drift)
    return found


def recount(session: OrgSession, workflow_id: WorkflowId) -> None:
    """Set a workflow's counters to the numbers of its executions.

    Exact beside writers: they change executions and counters in one transaction, the counters
    last, under the lock that is taken here before anything is counted.
    """
    locked = select(WorkflowRow.id).where(WorkflowRow.id == workflow_id).with_for_update()
    session.execute(_PATIENCE)
    session.execute(locked).one()
    session.execute(_RECOUNT, {"workflow_id": workflow_id})


def add_missing_end(session: OrgSession, execution_id: ExecutionId) -> bool:
    """Add the entry of an execution's end, if there is none; say whether there was none.

    It says of itself that it was added afterwards: the trail shows when, by its place.
    """
    row = session.scalars(
        select(ExecutionRow).where(ExecutionRow.id == execution_id).with_for_update()
    ).one()
    status = ExecutionStatus(row.status)
    known = session.scalar(
        select(AuditRow.id)
        .where(
            or_(
                and_(AuditRow.resource_id == execution_id, AuditRow.action.in_(END_ACTIONS)),
                and_(AuditRow.execution_id == execution_id, AuditRow.action == EXECUTED),
            )
        )
        .limit(1)
    )
    if known is not None or status not in FINAL or row.completed_at is None:
        return False
    entry = make_end_entry(
        execution_id,
        row.workflow_id,
        status=status,
        at=row.completed_at,
        user_id=row.requested_by,
        error=row.error,
        error_code=row.error_code,
        added_by="drift check",
    )
    add_audit(session, [entry])
    return True
