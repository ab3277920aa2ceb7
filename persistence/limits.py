"""Limits of organizations and workflows, which may change while they run."""

import math
from dataclasses import dataclass

from sqlalchemy import func, select, text, update

from domain.ids import WorkflowId
from domain.json_data import JsonObject
from domain.limits import OrgLimits, QueueFull, WorkflowLimits
from persistence.audit import note_act
from persistence.organizations import OrganizationNotFound
from persistence.queue import WAITS
from persistence.sessions import OrgSession
from persistence.tables import OrganizationRow, WorkflowRow
from persistence.workflow_errors import WorkflowNotFound

_WAITING = text(
    f"select count(*) from (select from executions where {WAITS} limit :most) as waiting"
)


def get_org_limits(session: OrgSession) -> OrgLimits:
    """Read the organization's limits.

    Raises:
        OrganizationNotFound: there is no such organization.
    """
    row = session.scalar(select(OrganizationRow).where(OrganizationRow.id == session.org_id))
    if row is None:
        raise OrganizationNotFound(session.org_id)
    return OrgLimits(
        weight=row.weight,
        max_running=row.max_running,
        max_queued=row.max_queued,
        is_paused=row.paused_at is not None,
    )


def set_org_limits(session: OrgSession, limits: OrgLimits) -> None:
    """Give the organization other limits, from now on; with an audit entry.

    What runs already goes on. Killed and run again, the same limits are set.

    Raises:
        OrganizationNotFound: there is no such organization.
    """
    changed = session.execute(
        update(OrganizationRow)
        .where(OrganizationRow.id == session.org_id)
        .values(
            weight=limits.weight,
            max_running=limits.max_running,
            max_queued=limits.max_queued,
            paused_at=_pause(OrganizationRow, is_paused=limits.is_paused),
        )
        .returning(OrganizationRow.id)
    ).first()
    if changed is None:
        raise OrganizationNotFound(session.org_id)
    details: JsonObject = {
        "weight": limits.weight,
        "max_running": limits.max_running,
        "max_queued": limits.max_queued,
        "is_paused": limits.is_paused,
    }
    note_act(session, "organization.limits_set", session.org_id, details)


def get_workflow_limits(session: OrgSession, workflow_id: WorkflowId) -> WorkflowLimits:
    """Read a workflow's limits.

    Raises:
        WorkflowNotFound: there is no such workflow.
    """
    row = session.scalar(select(WorkflowRow).where(WorkflowRow.id == workflow_id))
    if row is None:
        raise WorkflowNotFound(workflow_id)
    return WorkflowLimits(
        max_running=row.max_running,
        max_batch=row.max_batch,
        is_paused=row.paused_at is not None,
    )


def set_workflow_limits(
    session: OrgSession, workflow_id: WorkflowId, limits: WorkflowLimits
) -> None:
    """Give a workflow other limits, from now on; with an audit entry.

    Raises:
        WorkflowNotFound: there is no such workflow.
    """
    changed = session.execute(
        update(WorkflowRow)
        .where(WorkflowRow.id == workflow_id)
        .values(
            max_running=limits.max_running,
            max_batch=limits.max_batch,
            paused_at=_pause(WorkflowRow, is_paused=limits.is_paused),
        )
        .returning(WorkflowRow.id)
    ).first()
    if changed is None:
        raise WorkflowNotFound(workflow_id)
    details: JsonObject = {
        "max_running": limits.max_running,
        "max_batch": limits.max_batch,
        "is_paused": limits.is_paused,
    }
    note_act(session, "workflow.limits_set", workflow_id, details)


@dataclass(frozen=True, slots=True)
class QueueRoom:
    """How many executions wait, and how many may; `None` without a limit."""

    waiting: int
    limit: int | None

    @property
    def free(self) -> float:
        """How many more may wait."""
        return math.inf if self.limit is None else max(0, self.limit - self.waiting)

    def check_can_hold(self, count: int) -> None:
        """Make sure that `count` more may wait.

        Raises:
            QueueFull: there are too many already.
        """
        if self.limit is not None and count > self.free:
            raise QueueFull(waiting=self.waiting, limit=self.limit)


def measure_room(session: OrgSession) -> QueueRoom:
    """Say how many more executions of the organization may wait.

    Requests at the same moment may together exceed the quota by what they bring: to count
    exactly they would have to wait for each other.
    """
    limit = session.scalar(
        select(OrganizationRow.max_queued).where(OrganizationRow.id == session.org_id)
    )
    if limit is None:
        return QueueRoom(0, None)
    return QueueRoom(session.execute(_WAITING, {"most": limit + 1}).scalar_one(), limit)


def _pause(table: type[OrganizationRow] | type[WorkflowRow], *, is_paused: bool) -> object:
    # Paused again, it is paused since the first time.
    return func.coalesce(table.paused_at, func.now()) if is_paused else None
