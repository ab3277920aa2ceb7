"""Runs as rows: the queue's claim, leases, Prefect's states."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, func, not_, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert

from domain.executions import LeaseLost
from domain.ids import ExecutionId, OrgId, RunId, WorkflowId, new_run_id
from domain.runs import RESUMING, TERMINAL, Run, RunFacts, RunState, StateType
from persistence.run_losses import cause_of_loss
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import ExecutionRow, RunRow, RunStateRow


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
    return to_run(row)


def find_run(session: PlatformSession, flow_run_id: UUID) -> Run | None:
    """Find a run by its Prefect flow run."""
    row = session.scalar(select(RunRow).where(RunRow.prefect_flow_run_id == flow_run_id))
    return to_run(row) if row else None


def find_run_by_id(session: PlatformSession, run_id: RunId) -> Run | None:
    """Find any organization's run by our own id."""
    row = session.scalar(select(RunRow).where(RunRow.id == run_id))
    return to_run(row) if row else None


def get_run(session: OrgSession, run_id: RunId) -> Run:
    """Read a run. It is there: callers have its id from a row."""
    return to_run(session.scalars(select(RunRow).where(RunRow.id == run_id)).one())


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


def fence_run(
    session: PlatformSession, run: Run, *, lease_s: float, lapsed: bool = True
) -> Run | None:
    """Take a run away from a worker that was not heard of; `None` if it was, meanwhile.

    From here on the old worker writes nothing. The new lease belongs to the caller, who ends
    the run; killed before that, the lease ends in turn and the run is found again.

    Args:
        lapsed: only if the lease has ended; `False`: from a worker that lives, too.
    """
    row = session.scalar(
        update(RunRow)
        .where(
            RunRow.id == run.id,
            RunRow.lease_token == run.lease_token,
            RunRow.closed_at.is_(None),
            RunRow.lease_expires_at < func.clock_timestamp() if lapsed else true(),
        )
        .values(
            lease_token=uuid4(),
            lease_expires_at=_until(lease_s),
            loss_cause=func.coalesce(RunRow.loss_cause, cause_of_loss()),
        )
        .returning(RunRow)
    )
    return to_run(row) if row else None


def is_fenced(session: PlatformSession, run: Run) -> bool:
    """Say whether a run was taken from whoever holds `run`; closed or not does not matter."""
    token = session.scalar(select(RunRow.lease_token).where(RunRow.id == run.id))
    return token != run.lease_token


def end_lease(session: PlatformSession, run: Run) -> None:
    """Give up the lease on a run that was fenced and could not be ended: it is found again."""
    session.execute(
        update(RunRow)
        .where(RunRow.id == run.id, RunRow.lease_token == run.lease_token)
        .values(lease_expires_at=func.clock_timestamp())
    )


def end_leases_of(session: PlatformSession, worker: str) -> int:
    """End the leases of a worker that is known to be dead; return how many there were.

    For whoever has seen its process end: nobody else need wait for them to run out.
    """
    ended = session.scalars(
        update(RunRow)
        .where(RunRow.worker == worker, RunRow.closed_at.is_(None))
        .values(lease_expires_at=func.clock_timestamp())
        .returning(RunRow.id)
    )
    return len(ended.all())


def take_over(session: PlatformSession, run: Run, *, worker: str, lease_s: float) -> Run | None:
    """Give a run that nobody carries out to a worker; `None` if another one has it.

    For a run that was suspended, and is resumed: its worker has left it.
    """
    row = session.scalar(
        update(RunRow)
        .where(
            RunRow.id == run.id,
            RunRow.closed_at.is_(None),
            RunRow.lease_expires_at < func.clock_timestamp(),
        )
        .values(lease_token=uuid4(), lease_expires_at=_until(lease_s), worker=worker)
        .returning(RunRow)
    )
    return to_run(row) if row else None


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


def list_lost_runs(session: PlatformSession, *, limit: int) -> list[Run]:
    """List open runs whose lease ended: their worker is gone or frozen.

    Suspended ones are none of them: their workers have left them, for whoever resumes them.
    """
    query = (
        select(RunRow)
        .where(
            RunRow.closed_at.is_(None),
            RunRow.lease_expires_at < func.clock_timestamp(),
            not_(is_suspended()),
        )
        .order_by(RunRow.id)
        .limit(limit)
    )
    return [to_run(row) for row in session.scalars(query)]


def list_carried_ids(session: PlatformSession, run_id: RunId) -> list[ExecutionId]:
    """List the ids of a run's executions, oldest first."""
    query = select(ExecutionRow.id).where(ExecutionRow.run_id == run_id).order_by(ExecutionRow.id)
    return [ExecutionId(id) for id in session.scalars(query)]


def lock_run(session: OrgSession, run_id: RunId, *, lease: UUID | None = None) -> bool:
    """Wait for the one right to change a run's rows, until this transaction ends.

    Args:
        lease: the token under which the caller had the run, if it carried it out.

    Returns:
        Whether the run is still open.

    Raises:
        LeaseLost: the run was taken from the caller: write nothing.
    """
    row = session.execute(
        select(RunRow.closed_at, RunRow.lease_token).where(RunRow.id == run_id).with_for_update()
    ).one()
    if lease is not None and row.lease_token != lease:
        raise LeaseLost(run_id)
    return row.closed_at is None


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


def record_facts(
    session: OrgSession, run_id: RunId, facts: RunFacts, *, closed_as: StateType | None
) -> None:
    """Note a run's newest state; close it when that state is terminal.

    Args:
        closed_as: the state that Prefect shall have it in, if it is closed now. What it was
            closed as before stays.
    """
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
            closed_as=func.coalesce(RunRow.closed_as, closed_as.value if closed_as else None),
        )
    )


def close_run(session: OrgSession, run_id: RunId) -> None:
    """Close a run that Prefect has no state for: never created there, or deleted."""
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.closed_at.is_(None))
        .values(closed_at=func.now(), closed_as=StateType.CRASHED.value)
    )


def is_suspended() -> ColumnElement[bool]:
    """Say whether a run waits, in Prefect, for a person, or for a worker since a person came."""
    resuming = and_(
        RunRow.prefect_state_type == StateType.SCHEDULED.value,
        RunRow.prefect_state_name == RESUMING,
    )
    # Before its first state a run has none, which is no answer to either question.
    paused = RunRow.prefect_state_type == StateType.PAUSED.value
    return func.coalesce(or_(paused, resuming), False)


# By the database's clock, not the worker's: leases are compared across machines.
def _until(lease_s: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)


def to_run(row: RunRow) -> Run:
    """Turn a row into what the other floors know."""
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
    return StateType(row.closed_as or row.prefect_state_type or StateType.CRASHED)
