"""One meaning for a cron expression: Debian's cron, written so that Prefect reads it the same way.

`cronsim` reads cron as Debian does; Prefect reads it with `croniter`. They differ in `7/2`, `3-3`,
`*/2` beside a weekday, `5L`, `LW` and `MON#1`. So an expression is read once, here, and Prefect is
given plain lists where its own reading would be another.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim

from domain.text import quote

_DAY, _WEEKDAY = 2, 4
_RANGES = (range(60), range(24), range(1, 32), range(1, 13), range(7))
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ANY_TIME = datetime(2024, 1, 1, tzinfo=UTC)
_VALUE = r"(?:\d+|[A-Z]{3})"
# What both libraries read alike: `*`, `*/n`, values and lists of them. A range may not be one of
# them: `3-3` and `5-7` are read differently, so ranges are kept only with two rising numbers.
_PLAIN_TERM = re.compile(rf"{_VALUE}|(?P<low>\d+)-(?P<high>\d+)|MON-FRI|MON-SAT")
_STEP = re.compile(r"\*/(\d+)")


@dataclass(frozen=True, slots=True)
class PlainCron:
    """A cron expression that Prefect reads as Debian's cron reads the one it came from."""

    cron: str
    day_or: bool = True
    """Whether one of day of the month and day of the week is enough, where both are given."""


def find_dialect_problems(cron: str) -> Iterator[tuple[str, str]]:
    """Say what Prefect does not take of an expression that Debian's cron takes: message and hint.

    It has five valid fields.
    """
    day, weekday = cron.upper().split()[_DAY], cron.upper().split()[_WEEKDAY]
    if "LW" in day:
        yield (
            "`LW`, the last weekday of a month, is not supported.",
            "Use `L` for the last day of the month, or a weekday such as `MON-FRI`.",
        )
    if "L" in weekday:
        yield (
            f"The last weekday of a month, {quote(weekday)}, is not supported.",
            "Use the number of the week, such as `5#4` for the fourth Friday, or `L` as the day of "
            "the month.",
        )
    if "#" in weekday:
        if not all("#" in term for term in weekday.split(",")):
            yield (
                f"{quote(weekday)} mixes numbered weekdays with others.",
                "Add two schedules, one for each kind.",
            )
        elif day != "*":
            yield (
                "A numbered weekday cannot stand beside a day of the month.",
                "Write `*` as the day of the month, or add two schedules.",
            )
    sim = CronSim(cron, _ANY_TIME)
    if not sim.day_and and not _month_has(sim.days, sim.months):
        yield (
            f"The day of the month in {quote(cron)} never comes: its months are too short.",
            "Write `*` as the day of the month, or a day that its months have.",
        )


def plain_cron(cron: str) -> PlainCron:
    """Write a valid expression so that Prefect fires when Debian's cron would."""
    parts = cron.upper().split()
    sim = CronSim(cron, _ANY_TIME)
    numbers = (sim.minutes, sim.hours, sim.days, sim.months)
    fields = [_keep_or_list(parts[index], numbers[index], index) for index in range(4)]
    fields.append(_weekdays(parts[_WEEKDAY], sim))
    any_day = set(_RANGES[_DAY]) <= sim.days
    any_weekday = fields[_WEEKDAY] == "*"
    if any_day:
        fields[_DAY] = "*"
    if not sim.day_and and (any_day or any_weekday):
        # Either is enough, and one of them always holds.
        fields[_DAY] = fields[_WEEKDAY] = "*"
    both = fields[_DAY] != "*" and fields[_WEEKDAY] != "*"
    return PlainCron(" ".join(fields), day_or=not (both and sim.day_and))


def needs_both_days(cron: str) -> bool | None:
    """Say whether day of the month and of the week must both hold; `None` where one is free."""
    plain = plain_cron(cron)
    fields = plain.cron.split()
    return None if "*" in {fields[_DAY], fields[_WEEKDAY]} else not plain.day_or


def skips_first_of_march(cron: str) -> bool:
    """Say whether Prefect leaves out a first day of March, as it counts on from February's end.

    From the 10th of February to the 31st are 21 days for it, and the next look is from the 3rd of
    March on.
    """
    days = CronSim(cron, _ANY_TIME).days
    return bool(days & {1, 2}) and bool(days & {30, 31})


def _month_has(days: set[int], months: set[int]) -> bool:
    lasts = {CronSim.LAST, CronSim.LAST_WEEKDAY}
    return bool(days & lasts) or min(days) <= max(_LONGEST[month - 1] for month in months)


def _keep_or_list(part: str, numbers: set[int], index: int) -> str:
    if part == "*" or _is_plain(part, _RANGES[index]):
        return part
    if set(_RANGES[index]) <= numbers:
        return "*"
    return ",".join("L" if n == CronSim.LAST else str(n) for n in sorted(numbers, key=_last_last))


def _weekdays(part: str, sim: CronSim) -> str:
    if part == "*" or _is_plain(part, _RANGES[_WEEKDAY]):
        return part
    numbered = sorted(each for each in sim.weekdays if isinstance(each, tuple))
    if numbered:
        return ",".join(sorted({f"{day % 7}#{week}" for day, week in numbered}))
    days = {each % 7 for each in sim.weekdays if isinstance(each, int)}
    return "*" if days == set(range(7)) else ",".join(map(str, sorted(days)))


def _is_plain(part: str, allowed: range) -> bool:
    if (step := _STEP.fullmatch(part)) is not None:
        return int(step[1]) <= len(allowed) // 2
    for term in part.split(","):
        found = _PLAIN_TERM.fullmatch(term)
        if found is None:
            return False
        low, high = found["low"], found["high"]
        if low is not None and not (int(low) < int(high) <= allowed[-1]):
            return False
    return True


def _last_last(number: int) -> int:
    return 99 if number == CronSim.LAST else number
