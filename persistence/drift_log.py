"""The log of drift: what did not fit, and what was done about it. Kept for some weeks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from domain.drift import Drift, DriftKind
from domain.ids import OrgId
from persistence.sessions import PlatformSession
from persistence.tables import DriftRow


@dataclass(frozen=True, slots=True)
class Repair:
    """One difference that was found, and what came of it."""

    drift: Drift
    action: str
    is_repaired: bool


@dataclass(frozen=True, slots=True)
class LoggedRepair:
    """A repair, with the time."""

    repair: Repair
    at: datetime


def add_repairs(session: PlatformSession, repairs: Sequence[Repair]) -> None:
    """Write down what was found and done."""
    if not repairs:
        return
    rows = [
        {
            "org_id": each.drift.org_id,
            "kind": each.drift.kind.value,
            "subject": each.drift.subject,
            "here": each.drift.here,
            "there": each.drift.there,
            "action": each.action,
            "is_repaired": each.is_repaired,
        }
        for each in repairs
    ]
    session.execute(insert(DriftRow), rows)


def list_repairs(session: PlatformSession, *, limit: int) -> list[LoggedRepair]:
    """List the newest first."""
    query = select(DriftRow).order_by(DriftRow.id.desc()).limit(limit)
    return [_to_logged(row) for row in session.scalars(query)]


def prune_repairs(session: PlatformSession, *, before: datetime, limit: int = 10_000) -> int:
    """Remove what is older than a time; return how much, at most `limit`."""
    old = select(DriftRow.id).where(DriftRow.found_at < before).limit(limit)
    removed = session.execute(delete(DriftRow).where(DriftRow.id.in_(old)).returning(DriftRow.id))
    return len(removed.all())


def _to_logged(row: DriftRow) -> LoggedRepair:
    drift = Drift(
        kind=DriftKind(row.kind),
        org_id=OrgId(row.org_id),
        subject=row.subject,
        here=row.here,
        there=row.there,
    )
    return LoggedRepair(Repair(drift, row.action, row.is_repaired), row.found_at)
