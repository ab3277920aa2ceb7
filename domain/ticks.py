"""Ticks that Prefect does not fire as a schedule says: around clock changes, and after February.

Prefect counts in wall time. Where clocks go forward it fires a time that does not exist an hour
early; where they go back it leaves out the second of two equal hours. And where a schedule names a
first day of the month beside its 30th or 31st, it skips the first of March. These ticks the
steward fires, and what Prefect fires at another time is not carried out. Both use one key for a
tick, so that it makes one execution whoever is first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from domain.cron_dialect import skips_first_of_march
from domain.ids import ScheduleId
from domain.schedules import ScheduleSpec, list_timezones, next_times

MARGIN = timedelta(hours=3)
"""How far from a clock change Prefect's times may be wrong; also how late a tick is made up for."""
_MARCH = 3
_FIRST_DAYS = (1, 2)
_MANY = 10_000
_PAGE = 8
_HOURS_KEPT = 256
_NONE = timedelta(0)


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A zone's clocks are put forward by `shift`, or back where it is negative."""

    at: datetime
    shift: timedelta


def find_clock_change(timezone: str, near: datetime) -> ClockChange | None:
    """Find the clock change of a zone within `MARGIN` of a time; to the second."""
    zone = ZoneInfo(timezone)
    low, high = near.astimezone(UTC) - MARGIN, near.astimezone(UTC) + MARGIN
    before, after = _offset(low, zone), _offset(high, zone)
    if before == after:
        return None
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return ClockChange(high.replace(microsecond=0), after - before)


def is_told_by_key(timezone: str, due: datetime) -> bool:
    """Say whether Prefect's times of a zone are not to be relied on at a time."""
    local = due.astimezone(ZoneInfo(timezone))
    if local.month == _MARCH and local.day in _FIRST_DAYS:
        return True
    return find_clock_change(timezone, due) is not None


def may_be_told_by_key(due: datetime) -> bool:
    """Say whether there is any zone whose times are not to be relied on about then.

    Reckoned once an hour: as a rule there is none, and nobody needs to read a schedule's zone.
    """
    hour = due.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return _is_any_told_by_key(hour)


def fires_at(spec: ScheduleSpec, at: datetime) -> bool:
    """Say whether a schedule fires at a time."""
    return next_times(spec, at - timedelta(seconds=1), count=1) == (at,)


def ticks_to_fire(spec: ScheduleSpec, *, after: datetime, until: datetime) -> Sequence[datetime]:
    """List the ticks in `(after, until]` that Prefect does not fire, or not surely."""
    zone = ZoneInfo(spec.timezone)
    change = find_clock_change(spec.timezone, until)
    march = skips_first_of_march(spec.cron) and _is_march(after, until, zone)
    if change is None and not march:
        return ()
    start = after if march or change is None else max(after, change.at - timedelta(seconds=1))
    end = until if march or change is None else min(until, change.at + max(-change.shift, _NONE))
    found = [each for each in _times(spec, start, end) if after < each <= until]
    return [each for each in found if _is_missed(each, zone, change, march=march)]


def tick_key(schedule_id: ScheduleId, due: datetime) -> str:
    """Name a tick, so that it is carried out once."""
    return f"schedule:{schedule_id}:{due.astimezone(UTC):%Y-%m-%dT%H:%M}Z"


@lru_cache(_HOURS_KEPT)
def _is_any_told_by_key(hour: datetime) -> bool:
    # Both ends: the times that are told by key last for hours, and fill one between them.
    ends = (hour, hour + timedelta(hours=1))
    return any(is_told_by_key(zone, end) for zone in list_timezones() for end in ends)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or _NONE


def _is_march(after: datetime, until: datetime, zone: ZoneInfo) -> bool:
    days = (after.astimezone(zone), until.astimezone(zone))
    return any(day.month == _MARCH and day.day in _FIRST_DAYS for day in days)


def _is_missed(at: datetime, zone: ZoneInfo, change: ClockChange | None, *, march: bool) -> bool:
    local = at.astimezone(zone)
    if march and local.month == _MARCH and local.day in _FIRST_DAYS:
        return True
    # The second of two equal hours, or the moment at which clocks were put forward.
    return bool(local.fold) or (change is not None and at == change.at)


def _times(spec: ScheduleSpec, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    while len(found) < _MANY:
        page = next_times(spec, found[-1] if found else after, count=_PAGE)
        kept = [each for each in page if each <= until]
        found.extend(kept)
        if len(kept) < len(page) or not page:
            break
    return found
