"""Schedules as rows; the steward makes Prefect's equal to them."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import func, select, update

from domain.catalog import PausedBy, Schedule
from domain.clock import utc_now
from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, ScheduleId, WorkflowId, new_schedule_id
from domain.json_data import JsonObject
from persistence.audit import note_act
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import ScheduleRow

_FIRES = ScheduleRow.removed_at.is_(None) & ScheduleRow.paused_at.is_(None)


class ScheduleNotFound(TenantryError):
    """This organization has no such schedule."""

    code = ErrorCode.SCHEDULE_NOT_FOUND

    def __init__(self, schedule_id: str) -> None:
        super().__init__(
            f"There is no schedule `{schedule_id}` in this organization.",
            hint="`tenantry schedules list` shows the ids.",
        )


class ScheduleHeldInPrefect(TenantryError):
    """A schedule cannot go on while its deployment is paused in Prefect."""

    code = ErrorCode.SCHEDULE_HELD

    def __init__(self, schedule_id: str) -> None:
        super().__init__(
            f"Schedule `{schedule_id}` is paused because its deployment is paused in Prefect.",
            hint="Switch the deployment on in Prefect: the schedule then goes on by itself.",
        )


def add_schedule(
    session: OrgSession,
    workflow_id: WorkflowId,
    *,
    cron: str,
    timezone: str,
    input_data: JsonObject,
) -> Schedule:
    """Add a schedule with its audit entry."""
    row = ScheduleRow(
        id=new_schedule_id(),
        org_id=session.org_id,
        workflow_id=workflow_id,
        cron=cron,
        timezone=timezone,
        input_data=input_data,
        created_by=session.user_id,
        created_at=utc_now(),
    )
    session.add(row)
    session.flush()
    note_act(session, "schedule.created", row.id, {"workflow_id": workflow_id, "cron": cron})
    return _to_schedule(row)


def remove_schedule(session: OrgSession, schedule_id: ScheduleId) -> Schedule:
    """Remove a schedule; its row stays, for the executions that it started.

    Raises:
        ScheduleNotFound: there is none, or it was removed before.
    """
    row = session.scalar(
        update(ScheduleRow)
        .where(ScheduleRow.id == schedule_id, ScheduleRow.removed_at.is_(None))
        .values(removed_at=func.now())
        .returning(ScheduleRow)
    )
    if row is None:
        raise ScheduleNotFound(schedule_id)
    note_act(session, "schedule.removed", row.id, {"workflow_id": row.workflow_id})
    return _to_schedule(row)


def pause_schedule(
    session: OrgSession, schedule_id: ScheduleId, *, by: str | None = None
) -> Schedule:
    """Have a schedule fire no more until it is resumed; pausing it again changes nothing.

    Raises:
        ScheduleNotFound: there is none.
    """
    row = session.scalar(
        update(ScheduleRow)
        .where(ScheduleRow.id == schedule_id, _FIRES)
        .values(paused_at=func.now(), paused_by=by or session.user_id)
        .returning(ScheduleRow)
    )
    if row is None:
        return _get(session, schedule_id)
    note_act(session, "schedule.paused", row.id, {"workflow_id": row.workflow_id, "by": by})
    return _to_schedule(row)


def resume_schedule(
    session: OrgSession, schedule_id: ScheduleId, *, by_prefect: bool = False
) -> Schedule:
    """Have a paused schedule fire again; what was due meanwhile is not made up for.

    Raises:
        ScheduleNotFound: there is none.
        ScheduleHeldInPrefect: its deployment is paused there, and this is not Prefect's word.
    """
    before = _get(session, schedule_id)
    if before.paused_by == PausedBy.PREFECT_DEPLOYMENT and not by_prefect:
        raise ScheduleHeldInPrefect(schedule_id)
    row = session.scalar(
        update(ScheduleRow)
        .where(ScheduleRow.id == schedule_id, ScheduleRow.paused_at.is_not(None))
        .values(paused_at=None, paused_by=None)
        .returning(ScheduleRow)
    )
    if row is None:
        return before
    note_act(
        session,
        "schedule.resumed",
        row.id,
        {"workflow_id": row.workflow_id, "by": PausedBy.PREFECT.value if by_prefect else None},
    )
    return _to_schedule(row)


def list_schedules(session: OrgSession, *, workflow_id: WorkflowId | None = None) -> list[Schedule]:
    """List the organization's schedules, oldest first."""
    query = select(ScheduleRow).where(ScheduleRow.removed_at.is_(None)).order_by(ScheduleRow.id)
    if workflow_id is not None:
        query = query.where(ScheduleRow.workflow_id == workflow_id)
    return [_to_schedule(row) for row in session.scalars(query)]


def list_schedules_of(
    session: PlatformSession, workflow_ids: Sequence[WorkflowId]
) -> list[Schedule]:
    """List the schedules of some workflows of any organization, oldest first."""
    query = (
        select(ScheduleRow)
        .where(ScheduleRow.workflow_id.in_(workflow_ids), ScheduleRow.removed_at.is_(None))
        .order_by(ScheduleRow.id)
    )
    return [_to_schedule(row) for row in session.scalars(query)]


def list_schedule_timezones(session: PlatformSession) -> Sequence[str]:
    """List the time zones of all organizations' schedules that fire."""
    query = select(ScheduleRow.timezone).where(_FIRES).distinct().order_by(ScheduleRow.timezone)
    return session.scalars(query).all()


def list_schedules_in(session: PlatformSession, timezone: str) -> list[Schedule]:
    """List every organization's schedules of a time zone that fire, oldest first."""
    query = select(ScheduleRow).where(_FIRES, ScheduleRow.timezone == timezone)
    return [_to_schedule(row) for row in session.scalars(query.order_by(ScheduleRow.id))]


def find_schedule(session: OrgSession, schedule_id: ScheduleId) -> Schedule | None:
    """Find a schedule, removed ones too: a run of it may still be on its way."""
    row = session.scalar(select(ScheduleRow).where(ScheduleRow.id == schedule_id))
    return _to_schedule(row) if row else None


def _get(session: OrgSession, schedule_id: ScheduleId) -> Schedule:
    query = select(ScheduleRow).where(
        ScheduleRow.id == schedule_id, ScheduleRow.removed_at.is_(None)
    )
    row = session.scalar(query)
    if row is None:
        raise ScheduleNotFound(schedule_id)
    return _to_schedule(row)


def _to_schedule(row: ScheduleRow) -> Schedule:
    return Schedule(
        id=ScheduleId(row.id),
        org_id=OrgId(row.org_id),
        workflow_id=WorkflowId(row.workflow_id),
        cron=row.cron,
        timezone=row.timezone,
        input_data=cast(JsonObject, row.input_data),
        created_by=row.created_by,
        created_at=row.created_at,
        paused_at=row.paused_at,
        paused_by=row.paused_by,
    )
