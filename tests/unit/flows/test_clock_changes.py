"""What is shown is what is fired, over the clock changes of a year in five zones.

The times shown are held to dateutil, which has its own calendar rules and its own zones. What is
fired is what Prefect's own planning gives, without what is refused, and with what the steward adds.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import DAILY, rrule
from dateutil.tz import datetime_exists
from dateutil.zoneinfo import get_zonefile_instance
from prefect.client.schemas.schedules import CronSchedule
from prefect.server.schemas.schedules import CronSchedule as ServerSchedule

from domain.cron_dialect import plain_cron
from domain.schedules import ScheduleSpec, next_times
from domain.ticks import (
    find_clock_change,
    fires_at,
    is_told_by_key,
    may_be_told_by_key,
    ticks_to_fire,
)

ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"),
    *("America/Santiago", "America/Havana"),
)
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
AROUND = timedelta(hours=5)
# The expression; its minutes and hours, for dateutil; whether it counts time that passes.
EVERY = range(60)
CRONS = {
    "30 2 * * *": ([30], [2], False),
    "30 1 * * *": ([30], [1], False),
    "30 0 * * *": ([30], [0], False),
    "0,30 1-3 * * *": ([0, 30], [1, 2, 3], False),
    "0 9 * * *": ([0], [9], False),
    "0 * * * *": ([0], range(24), True),
    "*/30 * * * *": ([0, 30], range(24), True),
    "*/15 2 * * *": ([0, 15, 30, 45], [2], True),
    "* 0-1 * * *": (EVERY, [0, 1], True),
}


def changes(zone: str) -> Iterator[datetime]:
    """Find the moments of a year at which a zone's clocks change."""
    days = [YEAR + timedelta(days=day) for day in range(366)]
    for day, following in pairwise(days):
        if (
            day.astimezone(ZoneInfo(zone)).utcoffset()
            != following.astimezone(ZoneInfo(zone)).utcoffset()
        ):
            for hour in range(0, 24, 3):
                found = find_clock_change(zone, day + timedelta(hours=hour))
                if found is not None:
                    yield found.at
                    break


CASES = [(zone, at) for zone in ZONES for at in changes(zone)]


def by_dateutil(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Say when Debian's cron fires, by another library's calendar and zones."""
    minutes, hours, counts_time = CRONS[cron]
    place = get_zonefile_instance().get(zone)
    first = (start - timedelta(days=2)).astimezone(place).replace(tzinfo=None, hour=0, minute=0)
    walls = rrule(
        DAILY,
        dtstart=first,
        count=5 * len(minutes) * len(hours),
        byhour=list(hours),
        byminute=list(minutes),
        bysecond=0,
    )
    found: set[datetime] = set()
    for wall in walls:
        if counts_time:
            if datetime_exists(wall, place):
                found |= {wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1)}
            continue
        while not datetime_exists(wall, place):
            wall += timedelta(minutes=1)
        found.add(wall.replace(tzinfo=place, fold=0).astimezone(UTC))
    return sorted(at for at in found if start < at <= end)


def shown(spec: ScheduleSpec, start: datetime, end: datetime) -> list[datetime]:
    # More than a minute schedule has in these hours.
    return [
        at for at in next_times(spec, start, count=1_000 if "* 0" in spec.cron else 60) if at <= end
    ]


def planned_by_prefect(spec: ScheduleSpec, asked_at: datetime, end: datetime) -> set[datetime]:
    plain = plain_cron(spec.cron)
    checked = CronSchedule(cron=plain.cron, timezone=spec.timezone, day_or=plain.day_or)
    server = ServerSchedule(**checked.model_dump())
    planned = server._get_dates_generator(n=1_500, start=asked_at, end=end)  # type: ignore[reportPrivateUsage]
    return {datetime.fromtimestamp(at.timestamp(), UTC) for at in planned}


def fired_by_steward(spec: ScheduleSpec, start: datetime, end: datetime) -> set[datetime]:
    looks = [start]
    while looks[-1] < end:
        looks.append(min(looks[-1] + timedelta(minutes=43), end))
    return {at for a, b in pairwise(looks) for at in ticks_to_fire(spec, after=a, until=b)}


def carried_out(spec: ScheduleSpec, planned: set[datetime]) -> set[datetime]:
    """Leave out what a worker refuses of Prefect's runs."""
    return {at for at in planned if not is_told_by_key(spec.timezone, at) or fires_at(spec, at)}


def test_five_zones_change_their_clocks_twice_in_the_year():
    assert len(CASES) == 10


@pytest.mark.parametrize("cron", CRONS)
def test_times_are_shown_as_another_library_says_over_both_clock_changes(cron: str):
    for zone, change in CASES:
        spec = ScheduleSpec(cron, zone)
        start, end = change - AROUND, change + AROUND
        assert shown(spec, start, end) == by_dateutil(cron, zone, start, end), (zone, change)


@pytest.mark.parametrize("cron", CRONS)
def test_what_is_shown_is_fired_once_over_both_clock_changes(cron: str):
    for zone, change in CASES:
        spec = ScheduleSpec(cron, zone)
        start, end = change - AROUND, change + AROUND
        wanted = set(shown(spec, start, end))
        early = planned_by_prefect(spec, start + timedelta(seconds=1), end)
        added = fired_by_steward(spec, start, end)
        assert carried_out(spec, early) | added == wanted, (zone, change)
        # Prefect plans anew as time passes, and then from where it is.
        later = {
            at
            for minutes in range(0, 10 * 60, 67)
            for at in planned_by_prefect(spec, start + timedelta(minutes=minutes, seconds=9), end)
        }
        assert carried_out(spec, later) | added == wanted, (zone, change)


@pytest.mark.parametrize("cron", ["0 9 */15 * *", "0 9 1,2,30 * *", "*/30 8 1,31 * *"])
def test_the_first_days_of_march_that_prefect_skips_are_fired(cron: str):
    spec = ScheduleSpec(cron, "Europe/Berlin")
    start, end = datetime(2026, 2, 25, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
    prefect = planned_by_prefect(spec, start, end)
    wanted = set(shown(spec, start, end))
    assert prefect < wanted
    assert carried_out(spec, prefect) | fired_by_steward(spec, start, end) == wanted


def test_most_hours_no_zone_needs_a_look_and_every_hour_that_needs_one_gets_it():
    summer = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
    assert not may_be_told_by_key(summer)
    for zone, change in CASES[::3]:
        for minutes in range(-200, 201, 25):
            at = change + timedelta(minutes=minutes)
            assert may_be_told_by_key(at) or not is_told_by_key(zone, at)
    march = datetime(2026, 3, 2, 21, 59, tzinfo=UTC)
    assert may_be_told_by_key(march)
