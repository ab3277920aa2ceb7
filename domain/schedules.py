"""Schedules: when a workflow runs by itself."""

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from domain.cron_dialect import find_dialect_problems
from domain.errors import ErrorCode, InvalidInput, Problem
from domain.inputs import as_input, find_input_problems
from domain.json_data import JsonObject
from domain.text import Suggester, quote

MAX_CRON_CHARS = 200

_CODE = ErrorCode.SCHEDULE_INVALID
# Name, what it may hold.
_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, or `L` for the last"),
    ("month", "1 to 12, or `JAN` to `DEC`"),
    ("day of the week", "0 (Sunday) to 7 (Sunday), or `SUN` to `SAT`"),
)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# In the tz database, but no place: what they mean depends on the machine, or is nothing.
_NOT_A_PLACE = frozenset({"Factory", "localtime"})
# `GMT+2`, `UTC-05:30`, `+02:00`.
_OFFSET = re.compile(
    r"(?i:GMT|UTC|UT|Z)?\s*(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d\d))?"
)
# No clock change of this century is longer; days that are left out are skipped whole.
_LONGEST_CHANGE = timedelta(hours=3)
# A start for the search of a first time; which one does not matter, cron has no beginning.
_ANY_TIME = datetime(2024, 1, 1, tzinfo=UTC)


class ScheduleInvalid(InvalidInput):
    """A schedule has no meaning."""

    code = _CODE
    subject = "schedule"


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """When to run, and on what. `read_schedule` makes one of what somebody gave.

    `cron` has five fields: minute, hour, day of the month, month, day of the week. They are
    local times of `timezone`, a name in the tz database such as `Europe/Berlin`. Without an
    `input` the workflow's default input is used.
    """

    cron: str
    timezone: str = "UTC"
    input: JsonObject | None = None


def read_schedule(cron: str, *, timezone: str = "UTC", input: object = None) -> ScheduleSpec:
    """Make a schedule of what somebody gave; a text as `input` becomes `{"text": …}`.

    Raises:
        ScheduleInvalid: with every problem found.
    """
    problems = check_schedule(cron, timezone)
    if input is not None:
        problems = (*problems, *find_input_problems(input, pointer="/input"))
    if problems:
        raise ScheduleInvalid(problems)
    return ScheduleSpec(
        " ".join(cron.split()), timezone, None if input is None else as_input(input)
    )


def check_schedule(cron: str, timezone: str) -> tuple[Problem, ...]:
    """List what is wrong with a cron expression and a time zone: `/cron` and `/timezone`."""
    return (*_cron_problems(cron), *_timezone_problems(timezone))


def next_times(spec: ScheduleSpec, after: datetime, *, count: int) -> tuple[datetime, ...]:
    """Say when a schedule fires next: at most `count` times, aware UTC, each later than `after`.

    As Debian's cron does: a time that a clock change skips fires just after it, one that it repeats
    fires the first time. A schedule whose minute or hour begins with `*` counts time that passes
    instead: it fires in both of two equal hours, and not for one that is skipped.

    Raises:
        ValueError: `after` has no time zone.
    """
    if after.tzinfo is None:
        raise ValueError("`after` must have a time zone")
    found: list[datetime] = []
    for at in _moments(spec, after) if count > 0 else ():
        if at > (found[-1] if found else after):
            found.append(at)
        if len(found) == count:
            break
    return tuple(found)


def is_overtaken(spec: ScheduleSpec, due: datetime, *, now: datetime) -> bool:
    """Say whether a time that a schedule fired at is as good as overtaken by its next one.

    So it is from half way on between the two: whatever starts it then starts both.

    Raises:
        ValueError: `due` has no time zone.
    """
    following = next_times(spec, due, count=1)
    return bool(following) and now - due >= (following[0] - due) / 2


def _moments(spec: ScheduleSpec, after: datetime) -> Iterator[datetime]:
    """Yield a schedule's times as UTC, rising, from just before `after` on.

    cronsim gives the times on the clock's face. Its own handling of clock changes goes on by whole
    hours, and misses times where a change is of half an hour.
    """
    zone = ZoneInfo(spec.timezone)
    local = after.astimezone(zone)
    # Within the first of two equal hours, too: the second of what came before it is ahead.
    went_back = _offset(after - _LONGEST_CHANGE, zone) - _offset(after + _LONGEST_CHANGE, zone)
    start = local.replace(tzinfo=None) - max(went_back, timedelta(0))
    counts_time = any(field.startswith("*") for field in spec.cron.split()[:2])
    repeated: list[datetime] = []
    for face in CronSim(spec.cron, start):
        first = face.replace(tzinfo=zone).astimezone(UTC)
        is_skipped = first.astimezone(zone).replace(tzinfo=None) != face
        if is_skipped and counts_time:
            continue
        while repeated and repeated[0] < first:
            yield repeated.pop(0)
        if is_skipped:
            yield _end_of_gap(face, zone)
            continue
        yield first
        if counts_time:
            second = face.replace(tzinfo=zone, fold=1).astimezone(UTC)
            if second != first:
                repeated.append(second)
    yield from repeated


def _end_of_gap(face: datetime, zone: ZoneInfo) -> datetime:
    # To the minute, as clock changes are.
    while True:
        face += timedelta(minutes=1)
        at = face.replace(tzinfo=zone).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == face:
            return at


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


def _cron_problems(cron: str) -> Iterator[Problem]:
    fault = _form_fault(cron)
    if fault is not None:
        yield Problem(_CODE, "/cron", *fault)
        return
    bad_field = False
    parts = cron.split()
    for position, (name, allowed) in enumerate(_FIELDS):
        alone = ["*"] * len(_FIELDS)
        alone[position] = parts[position]
        if not _is_cron(alone):
            bad_field = True
            yield Problem(
                _CODE,
                "/cron",
                f"The {name}, {quote(parts[position])}, is not valid.",
                f"Give {allowed}; also `*`, lists `1,2`, ranges `1-5` and steps `*/2`.",
            )
    if bad_field:
        return
    if not (_is_cron(parts) and _ever_fires(cron)):
        yield Problem(
            _CODE,
            "/cron",
            f"{quote(cron)} never fires: no such day exists.",
            "Choose a day of the month that its month has.",
        )
        return
    for message, hint in find_dialect_problems(cron):
        yield Problem(_CODE, "/cron", message, hint)


def _form_fault(cron: str) -> tuple[str, str] | None:
    text = cron.strip()
    if not text or len(text) > MAX_CRON_CHARS:
        return (
            "The cron expression is empty or far too long.",
            "Give five fields, such as `0 9 * * MON-FRI`: at 9:00 on weekdays.",
        )
    if text.startswith("@"):
        plain = _NICKNAMES.get(text.lower())
        return (
            f"{quote(text)} is not supported.",
            f"Write `{plain}`." if plain else "Write five fields, such as `*/5 * * * *`.",
        )
    count = len(text.split())
    if count == len(_FIELDS) + 1:
        return (
            "The cron expression has six fields, and five are needed.",
            "Remove the field for seconds, the first (or for years, the last).",
        )
    if count != len(_FIELDS):
        return (
            f"The cron expression has {count} fields, and five are needed.",
            "Give minute, hour, day of the month, month, day of the week, with blanks between.",
        )
    return None


def _is_cron(parts: list[str]) -> bool:
    try:
        CronSim(" ".join(parts), _ANY_TIME)
    except CronSimError:
        return False
    return True


def _ever_fires(cron: str) -> bool:
    # cronsim gives up after 50 years without a match.
    return next(CronSim(cron, _ANY_TIME), None) is not None


def _timezone_problems(timezone: str) -> Iterator[Problem]:
    known = list_timezones()
    if timezone in known:
        return
    advice = _offset_advice(timezone)
    if advice is None:
        nearest = _nearest_timezone(timezone.strip().replace(" ", "_"), known)
        advice = (
            f"Did you mean {quote(nearest)}?" if nearest else "Use `UTC`, or continent and city."
        )
    yield Problem(
        _CODE,
        "/timezone",
        f"There is no time zone {quote(timezone)}.",
        f"{advice} Names are those of the tz database, such as `Europe/Berlin`.",
    )


def _offset_advice(timezone: str) -> str | None:
    # The likest name of `GMT+2` is `Etc/GMT+2`, which is two hours behind.
    found = _OFFSET.fullmatch(timezone.strip())
    if found is None:
        return None
    hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
    is_ahead = found["sign"] == "+"
    if minutes or hours > (14 if is_ahead else 12):
        return "Name a city with that clock instead, by continent and city."
    if hours == 0:
        return "Did you mean `UTC`?"
    name = f"Etc/GMT{'-' if is_ahead else '+'}{hours}"
    side = "ahead of" if is_ahead else "behind"
    return (
        f"Did you mean {quote(name)}? It is {hours} h {side} UTC: these names have the sign "
        "turned round. A city's name follows its clock changes, too."
    )


def _nearest_timezone(wanted: str, known: frozenset[str]) -> str | None:
    if "/" in wanted:
        return Suggester(known).nearest(wanted)
    # A city without its continent, or a name such as `utc`. Abbreviations (`PST`) are too short
    # to guess: the nearest one is as a rule another zone.
    cities = {name.rsplit("/", 1)[-1]: name for name in sorted(known)}
    city = Suggester(cities, min_likeness=0.8).nearest(wanted)
    return cities[city] if city else None


@cache
def list_timezones() -> frozenset[str]:
    """List the names of the tz database that are places, or `UTC` and the like."""
    return frozenset(zoneinfo.available_timezones() - _NOT_A_PLACE)
