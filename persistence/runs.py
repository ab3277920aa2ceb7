"""Runs as rows: the queue's claim, leases, Prefect's states."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from domain.executions import LeaseLost, Trigger
from domain.ids import ExecutionId, OrgId, RunId, WorkflowId, new_run_id
from domain.runs import TERMINAL, ClaimedRun, Run, RunFacts, RunState, StateType
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import ExecutionRow, RunRow, RunStateRow

# The oldest waiting execution of the highest priority, and the ones behind it of the same
# workflow version. SKIP LOCKED: claimers never wait for each other, nor take the same row.
_CLAIMABLE = text("""
with head as (
    select org_id, workflow_id, workflow_version from executions
    where run_id is null and status in ('PENDING', 'RUNNING') and cancel_requested_at is null
    order by priority, id limit 1 for update skip locked
)
select e.id, e.org_id, e.workflow_id, e.workflow_version, e.trigger
from executions e join head using (org_id, workflow_id, workflow_version)
where e.run_id is null and e.status in ('PENDING', 'RUNNING') and e.cancel_requested_at is null
order by e.priority, e.id limit :size for update of e skip locked
""")


def claim_run(
    session: PlatformSession, *, worker: str, lease_s: float, size: int = 1
) -> ClaimedRun | None:
    """Take up to `size` waiting executions of one workflow version into a new run.

    Killed after the commit, the run's lease ends and the steward gives the executions back.

    Returns:
        The run, or `None` when nothing waits.
    """
    rows = session.execute(_CLAIMABLE, {"size": size}).all()
    if not rows:
        return None
    first = rows[0]
    run = _add_run(
        session,
        OrgId(first.org_id),
        WorkflowId(first.workflow_id),
        first.workflow_version,
        worker=worker,
        lease_s=lease_s,
    )
    ids = [ExecutionId(row.id) for row in rows]
    session.execute(
        update(ExecutionRow)
        .where(ExecutionRow.id.in_(ids))
        .values(run_id=run.id, lease_token=run.lease_token)
    )
    return ClaimedRun(run, ids, Trigger(first.trigger))


def add_prefect_run(
    session: PlatformSession,
    org_id: OrgId,
    workflow_id: WorkflowId,
    *,
    version: int,
    flow_run_id: UUID,
    worker: str,
    lease_s: float,
) -> Run:
    """Make the row of a run that Prefect made; return the first one if there is one already."""
    return _add_run(
        session,
        org_id,
        workflow_id,
        version,
        worker=worker,
        lease_s=lease_s,
        flow_run_id=flow_run_id,
    )


def find_run(session: PlatformSession, flow_run_id: UUID) -> Run | None:
    """Find a run by its Prefect flow run."""
    row = session.scalar(select(RunRow).where(RunRow.prefect_flow_run_id == flow_run_id))
    return _to_run(row) if row else None


def get_run(session: OrgSession, run_id: RunId) -> Run:
    """Read a run. It is there: callers have its id from a row."""
    return _to_run(session.scalars(select(RunRow).where(RunRow.id == run_id)).one())


def set_flow_run(session: PlatformSession, run: Run, flow_run_id: UUID) -> None:
    """Note which Prefect flow run a run is.

    Raises:
        LeaseLost: the run was taken from this worker meanwhile.
    """
    done = session.execute(
        update(RunRow)
        .where(
            RunRow.id == run.id,
            RunRow.lease_token == run.lease_token,
            RunRow.closed_at.is_(None),
        )
        .values(prefect_flow_run_id=flow_run_id)
        .returning(RunRow.id)
    ).first()
    if done is None:
        raise LeaseLost(run.id)


def renew_leases(
    session: PlatformSession, tokens: Sequence[UUID], *, lease_s: float
) -> frozenset[UUID]:
    """Renew all of a worker's leases in one statement; return the tokens that are lost.

    A run that was closed by its own end keeps its token and is not lost; one that was taken
    away has another.
    """
    kept = session.scalars(
        update(RunRow)
        .where(RunRow.lease_token.in_(tokens))
        .values(lease_expires_at=_until(lease_s))
        .returning(RunRow.lease_token)
    )
    return frozenset(tokens) - frozenset(kept)


def fence_run(session: PlatformSession, run: Run, *, lease_s: float) -> Run | None:
    """Take a run away from a worker that was not heard of; `None` if it was, meanwhile.

    From here on the old worker writes nothing. The new lease belongs to the caller, who ends
    the run; killed before that, the lease ends in turn and the run is found again.
    """
    row = session.scalar(
        update(RunRow)
        .where(
            RunRow.id == run.id,
            RunRow.lease_token == run.lease_token,
            RunRow.closed_at.is_(None),
            RunRow.lease_expires_at < func.clock_timestamp(),
        )
        .values(lease_token=uuid4(), lease_expires_at=_until(lease_s))
        .returning(RunRow)
    )
    return _to_run(row) if row else None


def hold_lease(session: OrgSession, run: Run) -> None:
    """Make sure that a run is still ours until this transaction ends.

    Raises:
        LeaseLost: it was taken away or closed: write nothing.
    """
    held = session.scalar(
        select(RunRow.id)
        .where(
            RunRow.id == run.id,
            RunRow.lease_token == run.lease_token,
            RunRow.closed_at.is_(None),
        )
        .with_for_update(read=True, key_share=False)
    )
    if held is None:
        raise LeaseLost(run.id)


def list_open_runs(session: PlatformSession, *, after: RunId | None, limit: int) -> list[Run]:
    """List runs that are not closed, by rising id."""
    query = select(RunRow).where(RunRow.closed_at.is_(None)).order_by(RunRow.id).limit(limit)
    if after is not None:
        query = query.where(RunRow.id > after)
    return [_to_run(row) for row in session.scalars(query)]


def list_closed_runs(session: PlatformSession, *, since: datetime, limit: int) -> list[Run]:
    """List runs that were closed lately, newest first: Prefect may have changed its mind."""
    query = (
        select(RunRow)
        .where(RunRow.closed_at >= since, RunRow.prefect_flow_run_id.is_not(None))
        .order_by(RunRow.closed_at.desc())
        .limit(limit)
    )
    return [_to_run(row) for row in session.scalars(query)]


def list_lost_runs(session: PlatformSession, *, limit: int) -> list[Run]:
    """List open runs whose lease ended: their worker is gone or frozen."""
    query = (
        select(RunRow)
        .where(RunRow.closed_at.is_(None), RunRow.lease_expires_at < func.clock_timestamp())
        .order_by(RunRow.id)
        .limit(limit)
    )
    return [_to_run(row) for row in session.scalars(query)]


def read_marks(session: PlatformSession, ids: Sequence[RunId]) -> dict[RunId, UUID | None]:
    """Map runs to the newest Prefect state that was mirrored."""
    query = select(RunRow.id, RunRow.prefect_state_id).where(RunRow.id.in_(ids))
    return {RunId(id): state_id for id, state_id in session.execute(query)}


def list_carried_ids(session: PlatformSession, run_id: RunId) -> list[ExecutionId]:
    """List the ids of a run's executions, oldest first."""
    query = select(ExecutionRow.id).where(ExecutionRow.run_id == run_id).order_by(ExecutionRow.id)
    return [ExecutionId(id) for id in session.scalars(query)]


def lock_run(session: OrgSession, run_id: RunId, *, whole: bool = True) -> bool:
    """Wait for the one right to change a run's rows, until this transaction ends.

    Args:
        whole: wait for agents' answers that are being stored too, and keep new ones out. Whoever
            may end the run needs that, since its answers decide; to note that it has started
            nothing else must wait.

    Returns:
        Whether the run is still open.
    """
    session.execute(_LOCK, {"key": f"tenantry.run.{run_id}"})
    # A statement of its own: it must see what was committed before the lock was had.
    query = select(RunRow.closed_at).where(RunRow.id == run_id)
    return session.execute(query.with_for_update() if whole else query).one().closed_at is None


_LOCK = text("select pg_advisory_xact_lock(hashtextextended(:key, 0))")


def add_states(
    session: OrgSession, run_id: RunId, states: Iterable[RunState]
) -> tuple[list[RunState], bool]:
    """Remember Prefect states of a run; return all that are known, and whether any was new."""
    rows = [
        {
            "state_id": state.id,
            "org_id": session.org_id,
            "run_id": run_id,
            "type": state.type.value,
            "name": state.name,
            "at": state.at,
        }
        for state in states
    ]
    added = 0
    if rows:
        statement = insert(RunStateRow).values(rows).on_conflict_do_nothing()
        added = len(session.execute(statement.returning(RunStateRow.state_id)).all())
    known = session.scalars(select(RunStateRow).where(RunStateRow.run_id == run_id))
    return [RunState(r.state_id, StateType(r.type), r.name, r.at) for r in known], added > 0


def record_facts(session: OrgSession, run_id: RunId, facts: RunFacts) -> None:
    """Note a run's newest state; close it when that state is terminal."""
    latest = facts.latest
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(
            prefect_state_id=latest.id,
            prefect_state_type=latest.type.value,
            prefect_state_name=latest.name,
            prefect_state_at=latest.at,
            started_at=facts.started_at,
            closed_at=func.coalesce(RunRow.closed_at, func.now())
            if latest.type in TERMINAL
            else RunRow.closed_at,
        )
    )


def close_run(session: OrgSession, run_id: RunId) -> None:
    """Close a run that Prefect has no state for: never created there, or deleted."""
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.closed_at.is_(None))
        .values(closed_at=func.now())
    )


def _add_run(
    session: PlatformSession,
    org_id: OrgId,
    workflow_id: WorkflowId,
    version: int,
    *,
    worker: str,
    lease_s: float,
    flow_run_id: UUID | None = None,
) -> Run:
    row = session.scalar(
        insert(RunRow)
        .values(
            id=new_run_id(),
            org_id=org_id,
            workflow_id=workflow_id,
            workflow_version=version,
            worker=worker,
            lease_token=uuid4(),
            lease_expires_at=_until(lease_s),
            prefect_flow_run_id=flow_run_id,
        )
        .on_conflict_do_nothing(index_elements=["prefect_flow_run_id"])
        .returning(RunRow)
    )
    if row is None:
        query = select(RunRow).where(RunRow.prefect_flow_run_id == flow_run_id)
        row = session.scalars(query).one()
    return _to_run(row)


# By the database's clock, not the worker's: leases are compared across machines.
def _until(lease_s: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)


def _to_run(row: RunRow) -> Run:
    return Run(
        id=RunId(row.id),
        org_id=OrgId(row.org_id),
        workflow_id=WorkflowId(row.workflow_id),
        workflow_version=row.workflow_version,
        lease_token=row.lease_token,
        prefect_flow_run_id=row.prefect_flow_run_id,
        closed_as=_closed_as(row),
    )


def _closed_as(row: RunRow) -> StateType | None:
    if row.closed_at is None:
        return None
    return StateType(row.prefect_state_type) if row.prefect_state_type else StateType.CRASHED
