"""Of runs that are lost: whether an agent was asked, and who was the reason."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, case, exists, func, or_, select, text, update
from sqlalchemy.orm import aliased

from domain.executions import LeaseLost
from domain.ids import ExecutionId, RunId
from domain.lost_runs import Loss, LossCause
from domain.runs import Run
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import RunRow


def note_asked(session: OrgSession, run: Run) -> None:
    """Write down that a run's agents are asked from now on; the first time counts.

    Before the first of them is asked, so that a run which kills its worker at once is known.

    Raises:
        LeaseLost: the run was taken from this worker, or is closed: ask nobody.
    """
    noted = session.scalar(
        update(RunRow)
        .where(
            RunRow.id == run.id,
            RunRow.lease_token == run.lease_token,
            RunRow.closed_at.is_(None),
        )
        .values(asked_at=func.coalesce(RunRow.asked_at, func.clock_timestamp()))
        .returning(RunRow.id)
    )
    if noted is None:
        raise LeaseLost(run.id)


def note_broken_off(session: OrgSession, run: Run, *, cause: LossCause = LossCause.OWN) -> None:
    """Write down that a run cannot be carried out by its worker, and why; ends its lease."""
    session.execute(
        update(RunRow)
        .where(
            RunRow.id == run.id,
            RunRow.lease_token == run.lease_token,
            RunRow.closed_at.is_(None),
        )
        .values(
            asked_at=func.coalesce(RunRow.asked_at, func.clock_timestamp()),
            loss_cause=cause.value,
            lease_expires_at=func.clock_timestamp(),
        )
    )


def give_up_runs(session: PlatformSession, worker: str, *, reason: RunId | None) -> int:
    """End the leases of a worker that hangs; return how many there were.

    Args:
        reason: the run over which it hangs; the others have no part in it. `None`: not known.
    """
    cause: object = RunRow.loss_cause
    if reason is not None:
        cause = case((RunRow.id == reason, LossCause.OWN.value), else_=LossCause.BESIDE.value)
    ended = session.scalars(
        update(RunRow)
        .where(RunRow.worker == worker, RunRow.closed_at.is_(None))
        .values(lease_expires_at=func.clock_timestamp(), loss_cause=cause)
        .returning(RunRow.id)
    )
    return len(ended.all())


def spare_runs(session: PlatformSession, worker: str) -> None:
    """Write down that a worker breaks off all that it carries, for a reason of its own."""
    session.execute(
        update(RunRow)
        .where(RunRow.worker == worker, RunRow.closed_at.is_(None))
        .values(loss_cause=LossCause.BESIDE.value)
    )


def add_isolations(session: OrgSession, ids: Sequence[ExecutionId]) -> None:
    """Have those of some executions that are isolated found; again, it changes nothing."""
    session.execute(_ADD_ISOLATIONS, {"ids": list(ids)})


_ADD_ISOLATIONS = text("""
insert into isolations (org_id, execution_id)
select org_id, id from executions where is_isolated and id = any(:ids)
on conflict do nothing
""")


def get_loss(session: OrgSession, run_id: RunId) -> Loss:
    """Read what is known of a run that was lost."""
    row = session.execute(
        select(RunRow.size, RunRow.asked_at, RunRow.loss_cause).where(RunRow.id == run_id)
    ).one()
    cause = LossCause(row.loss_cause) if row.loss_cause else None
    return Loss(row.size, row.asked_at is not None, cause)


def cause_of_loss() -> ColumnElement[str]:
    """Say whether a run whose lease has ended was all that its worker carried then.

    What its worker carried besides is open still, or was closed after the lease had ended. As
    part of the UPDATE that fences the run.
    """
    other = aliased(RunRow)
    others = exists().where(
        other.worker == RunRow.worker,
        other.id != RunRow.id,
        or_(other.closed_at.is_(None), other.closed_at > RunRow.lease_expires_at),
    )
    return case((others, LossCause.AMONG.value), else_=LossCause.ALONE.value)
