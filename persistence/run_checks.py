"""What our tables say of runs, for the comparison with Prefect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, and_, false, func, not_, or_, select, text

from domain.drift import RunView
from domain.executions import ExecutionStatus
from domain.ids import RunId
from domain.runs import Run, RunState, StateType
from persistence.runs import to_run
from persistence.sessions import PlatformSession
from persistence.tables import ExecutionRow, RunRow

# The runs that are open, and the closed ones in which something was left.
_OPEN = text("""
select id from runs where closed_at is null and id > :after
union
select r.id from executions e join runs r on r.id = e.run_id
where e.completed_at is null and e.run_id > :after and r.closed_at is not null
order by id limit :limit
""")

# Ended by whoever cancelled it, or by its deadline, and not by what became of its run: the run may
# just have been completed in Prefect then.
_CALLED_OFF = and_(
    ExecutionRow.status.in_([ExecutionStatus.CANCELLED, ExecutionStatus.FAILED]),
    or_(
        ExecutionRow.cancel_requested_at.is_not(None),
        func.coalesce(ExecutionRow.deadline <= ExecutionRow.completed_at, false()),
    ),
)


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A run, and what is compared of it."""

    run: Run
    view: RunView


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """How many runs are open, and how long the oldest has been."""

    count: int
    oldest_age_s: float


def list_unfinished(
    session: PlatformSession, *, after: RunId | None, limit: int
) -> list[CheckedRun]:
    """List runs that are open, or closed with an open execution in them, by rising id."""
    ids = session.scalars(_OPEN, {"after": after or "", "limit": limit}).all()
    rows = session.scalars(select(RunRow).where(RunRow.id.in_(ids)).order_by(RunRow.id)).all()
    return _with_statuses(session, rows)


def list_ended(
    session: PlatformSession, *, since: datetime, limit: int, statuses: bool
) -> list[CheckedRun]:
    """List runs that were closed since a time, the newest first.

    Args:
        statuses: also count their executions, which for many runs takes long.
    """
    query = (
        select(RunRow)
        .where(RunRow.closed_at >= since, RunRow.prefect_flow_run_id.is_not(None))
        .order_by(RunRow.closed_at.desc())
        .limit(limit)
    )
    rows = session.scalars(query).all()
    if statuses:
        return _with_statuses(session, rows)
    return [_check(row, {}) for row in rows]


def find_closed(
    session: PlatformSession, flow_run_ids: Sequence[UUID], *, before: datetime
) -> dict[UUID, str | None]:
    """Find those among Prefect's flow runs that are runs of ours, closed before some time.

    Returns:
        As what type of state each was closed, if that is known.
    """
    query = select(RunRow.prefect_flow_run_id, RunRow.closed_as).where(
        RunRow.prefect_flow_run_id.in_(flow_run_ids), RunRow.closed_at < before
    )
    return {row[0]: row[1] for row in session.execute(query) if row[0] is not None}


def is_unwanted(session: PlatformSession, run_id: RunId) -> bool:
    """Say whether somebody has cancelled every execution that a run still carries."""
    open_ones = select(func.count(), func.count(ExecutionRow.cancel_requested_at)).where(
        ExecutionRow.run_id == run_id, ExecutionRow.completed_at.is_(None)
    )
    count, unwanted = session.execute(open_ones).one()
    return count > 0 and count == unwanted


def measure_open_runs(session: PlatformSession) -> OpenRuns:
    """Count the open runs, and look how old the oldest is."""
    count, age_s = session.execute(
        select(
            func.count(),
            func.coalesce(func.extract("epoch", func.now() - func.min(RunRow.created_at)), 0),
        ).where(RunRow.closed_at.is_(None))
    ).one()
    return OpenRuns(count, float(age_s))


def _with_statuses(session: PlatformSession, rows: Sequence[RunRow]) -> list[CheckedRun]:
    counts: dict[str, dict[ExecutionStatus, int]] = {row.id: {} for row in rows}
    found: Sequence[Row[tuple[str | None, str, int]]] = session.execute(
        select(ExecutionRow.run_id, ExecutionRow.status, func.count())
        .where(ExecutionRow.run_id.in_(list(counts)), not_(_CALLED_OFF))
        .group_by(ExecutionRow.run_id, ExecutionRow.status)
    ).all()
    for run_id, status, count in found:
        counts[run_id or ""][ExecutionStatus(status)] = count
    return [_check(row, counts[row.id]) for row in rows]


def _check(row: RunRow, statuses: dict[ExecutionStatus, int]) -> CheckedRun:
    state = None
    if row.prefect_state_id and row.prefect_state_type and row.prefect_state_at:
        state = RunState(
            row.prefect_state_id,
            StateType(row.prefect_state_type),
            row.prefect_state_name or "",
            row.prefect_state_at,
        )
    run = to_run(row)
    view = RunView(
        id=run.id,
        org_id=run.org_id,
        state=state,
        closed_as=run.closed_as,
        closed_at=row.closed_at,
        statuses=statuses,
    )
    return CheckedRun(run, view)
