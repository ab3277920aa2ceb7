"""How the steward is doing: one row that it writes each round, for the API and the command line.

Each leader has a number, its epoch, and writes only while no other one has led since.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update

from domain.errors import ErrorCode, TenantryError
from persistence.sessions import PlatformSession
from persistence.tables import StewardRow


class LeadershipLost(TenantryError):
    """Another steward leads by now."""

    code = ErrorCode.LEADERSHIP_LOST

    def __init__(self) -> None:
        super().__init__(
            "Another steward leads now.",
            hint="Nothing needs to be done: this one stands by.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """What a round found, by kind of drift, and what it could not do, by step."""

    seconds: float
    check_seconds: float | None
    """How long Prefect and our rows were compared; `None`: Prefect did not answer."""
    found: Mapping[str, int]
    repaired: Mapping[str, int]
    left_over: Mapping[str, int]
    lost_workers: int
    troubles: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StewardStatus:
    """How the steward is doing, and what it has found since it was first started."""

    epoch: int
    leader: str | None
    leading_since: datetime | None
    round_at: datetime | None
    round_seconds: float | None
    checked_at: datetime | None
    check_seconds: float | None
    found: Mapping[str, int]
    repaired: Mapping[str, int]
    left_over: Mapping[str, int]
    lost_workers: int
    troubles: Mapping[str, str]


def note_round(session: PlatformSession, *, epoch: int, report: RoundReport) -> None:
    """Add a round to the row.

    Raises:
        LeadershipLost: another steward has led since.
    """
    row = session.scalar(select(StewardRow).where(StewardRow.epoch == epoch).with_for_update())
    if row is None:
        raise LeadershipLost
    values: dict[str, object] = {
        "round_at": func.now(),
        "round_seconds": report.seconds,
        "found": _add(row.found, report.found),
        "repaired": _add(row.repaired, report.repaired),
        "left_over": dict(report.left_over),
        "lost_workers": row.lost_workers + report.lost_workers,
        "troubles": dict(report.troubles),
    }
    if report.check_seconds is not None:
        values |= {"checked_at": func.now(), "check_seconds": report.check_seconds}
    session.execute(update(StewardRow).values(values))


def read_status(session: PlatformSession) -> StewardStatus:
    """Read the row."""
    row = session.scalars(select(StewardRow)).one()
    return StewardStatus(
        epoch=row.epoch,
        leader=row.leader,
        leading_since=row.leading_since,
        round_at=row.round_at,
        round_seconds=row.round_seconds,
        checked_at=row.checked_at,
        check_seconds=row.check_seconds,
        found=row.found,
        repaired=row.repaired,
        left_over=row.left_over,
        lost_workers=row.lost_workers,
        troubles=row.troubles,
    )


def _add(known: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(known) + Counter(new))
