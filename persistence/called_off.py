"""Executions that shall end before their run does: somebody cancelled them, or their time is over.

Deadlines are compared with the database's clock: worker and steward then agree on who is late.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, not_, or_, select, text

from domain.executions import Execution
from domain.ids import OrgId, RunId
from domain.runs import Run
from persistence.executions import to_execution
from persistence.runs import is_suspended, to_run
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import ExecutionRow, RunRow

_LIMIT = 1_000
# Two halves, each with an index of its own: an OR would read all that the runs carry.
_RUNS = text("""
select run_id from executions
where run_id = any(:ids) and completed_at is null and cancel_requested_at is not null
union
select run_id from executions
where run_id = any(:ids) and completed_at is null and deadline <= clock_timestamp()
""")
_WAITING = text("""
select org_id from executions
where run_id is null and completed_at is null and cancel_requested_at is not null
union
select org_id from executions
where run_id is null and completed_at is null and deadline <= clock_timestamp()
""")


def find_runs_with_called_off(session: PlatformSession, ids: Sequence[RunId]) -> list[RunId]:
    """Find the runs among these that carry an execution which shall end now."""
    return [RunId(id) for id in session.scalars(_RUNS, {"ids": list(ids)})]


def find_orgs_with_called_off(session: PlatformSession) -> list[OrgId]:
    """Find the organizations of executions that wait for a worker and shall end instead."""
    return [OrgId(id) for id in session.scalars(_WAITING)]


def list_suspended_to_end(session: PlatformSession) -> list[Run]:
    """List suspended runs that no worker has, and that carry what shall end now, or nothing else.

    The latter have been cut off from Prefect before it could be told.
    """
    carried = select(ExecutionRow.id).where(
        ExecutionRow.run_id == RunRow.id, ExecutionRow.completed_at.is_(None)
    )
    query = (
        select(RunRow)
        .where(
            RunRow.closed_at.is_(None),
            RunRow.lease_expires_at < func.clock_timestamp(),
            is_suspended(),
            or_(carried.where(_is_called_off()).exists(), not_(carried.exists())),
        )
        .order_by(RunRow.id)
        .limit(_LIMIT)
    )
    return [to_run(row) for row in session.scalars(query)]


def lock_called_off(session: OrgSession, *, run_id: RunId | None) -> list[Execution]:
    """List, and lock until this transaction ends, what shall end now: at most 1,000 of them.

    Args:
        run_id: of the executions that this run carries; `None`: of those that wait, without
            the ones that a worker claims at this moment.
    """
    query = (
        select(ExecutionRow)
        .where(
            ExecutionRow.run_id == run_id if run_id else ExecutionRow.run_id.is_(None),
            ExecutionRow.completed_at.is_(None),
            _is_called_off(),
        )
        .order_by(ExecutionRow.id)
        .limit(_LIMIT)
        .with_for_update(skip_locked=run_id is None)
    )
    return [to_execution(row) for row in session.scalars(query)]


def _is_called_off() -> ColumnElement[bool]:
    return or_(
        ExecutionRow.cancel_requested_at.is_not(None),
        ExecutionRow.deadline <= func.clock_timestamp(),
    )
