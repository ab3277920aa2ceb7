"""Pauses of the whole queue: the operator's, and that of Prefect's work pool."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from domain.waiting import PauseScope
from persistence.notifications import QUEUE
from persistence.sessions import PlatformSession
from persistence.tables import PauseRow


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is claimed while there is one."""

    scope: PauseScope
    paused_at: datetime
    paused_by: str | None
    reason: str | None


def add_pause(
    session: PlatformSession, scope: PauseScope, *, by: str | None = None, reason: str | None = None
) -> Pause:
    """Pause the queue; pausing again keeps the time of the first, and its reason if none is given.

    Runs that are under way go on; a claim that is being made ends first.
    """
    added = insert(PauseRow).values(scope=scope.value, paused_by=by, reason=reason)
    row = session.scalar(
        added.on_conflict_do_update(
            index_elements=["scope"],
            set_={"reason": func.coalesce(added.excluded.reason, PauseRow.reason)},
        ).returning(PauseRow)
    )
    if row is None:
        raise RuntimeError("an upsert returned no row")
    return _to_pause(row)


def remove_pause(session: PlatformSession, scope: PauseScope) -> Pause | None:
    """Go on, and wake the workers; `None` if there was no such pause."""
    row = session.scalar(delete(PauseRow).where(PauseRow.scope == scope.value).returning(PauseRow))
    if row is None:
        return None
    session.execute(text("select pg_notify(:channel, '')"), {"channel": QUEUE})
    return _to_pause(row)


def list_pauses(session: PlatformSession) -> list[Pause]:
    """List what pauses the queue now."""
    return [_to_pause(row) for row in session.scalars(select(PauseRow).order_by(PauseRow.scope))]


def _to_pause(row: PauseRow) -> Pause:
    return Pause(PauseScope(row.scope), row.paused_at, row.paused_by, row.reason)
