"""What a schedule may say, and when it fires."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.schedules import (
    ScheduleInvalid,
    ScheduleSpec,
    check_schedule,
    is_overtaken,
    next_times,
    read_schedule,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_a_schedule_without_zone_and_input_is_utc_and_has_none():
    assert read_schedule(" 0  9 * * MON-FRI ") == ScheduleSpec("0 9 * * MON-FRI", "UTC", None)


def test_a_text_as_input_becomes_its_text_field():
    assert read_schedule("0 9 * * *", input="Find leads").input == {"text": "Find leads"}


@pytest.mark.parametrize(
    ("cron", "message", "hint"),
    [
        ("@daily", "`@daily` is not supported.", "Write `0 0 * * *`."),
        ("@Weekly", "`@Weekly` is not supported.", "Write `0 0 * * 0`."),
        ("@every 5m", "`@every 5m` is not supported.", "five fields"),
        ("0 0 0 * * *", "six fields, and five are needed", "seconds"),
        ("0 0 * *", "4 fields, and five are needed", "minute, hour"),
        ("", "empty", "five fields"),
        ("1," * 200 + "1 * * * *", "far too long", "five fields"),
        ("60 * * * *", "The minute, `60`, is not valid.", "0 to 59"),
        ("0 24 * * *", "The hour, `24`, is not valid.", "0 to 23"),
        ("0 0 32 * *", "The day of the month, `32`, is not valid.", "1 to 31"),
        ("0 0 * 13 *", "The month, `13`, is not valid.", "1 to 12"),
        ("0 0 * * 8", "The day of the week, `8`, is not valid.", "Sunday"),
        ("5-1 * * * *", "The minute, `5-1`, is not valid.", "ranges"),
        ("0 0 30 2 *", "never fires", "day of the month"),
    ],
)
def test_a_bad_cron_is_told_its_fix(cron: str, message: str, hint: str):
    (problem,) = check_schedule(cron, "UTC")
    assert problem.pointer == "/cron"
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("timezone", "nearest"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_an_unknown_zone_gets_the_nearest_one(timezone: str, nearest: str):
    (problem,) = check_schedule("0 9 * * *", timezone)
    assert problem.pointer == "/timezone"
    assert problem.hint.startswith(f"Did you mean `{nearest}`?")


@pytest.mark.parametrize(
    ("timezone", "advice"),
    [
        ("GMT+2", "`Etc/GMT-2`? It is 2 h ahead of UTC"),
        ("utc-5", "`Etc/GMT+5`? It is 5 h behind UTC"),
        ("+02:00", "`Etc/GMT-2`"),
        ("UTC+0", "Did you mean `UTC`?"),
        ("UTC+05:30", "Name a city"),
        ("GMT-13", "Name a city"),
    ],
)
def test_an_offset_is_told_the_zone_on_its_own_side_of_utc(timezone: str, advice: str):
    (problem,) = check_schedule("0 9 * * *", timezone)
    assert advice in problem.hint


@pytest.mark.parametrize(
    "timezone", ["", "PST", "../../etc/passwd", "America", "localtime", "\x00"]
)
def test_what_is_no_zone_is_refused(timezone: str):
    assert [problem.pointer for problem in check_schedule("0 9 * * *", timezone)] == ["/timezone"]


def test_all_problems_of_a_schedule_are_told_at_once():
    with pytest.raises(ScheduleInvalid) as caught:
        read_schedule("61 25 * * *", timezone="Mars", input={})
    places = [problem.pointer for problem in caught.value.problems]
    assert places == ["/cron", "/cron", "/timezone", "/input"]


def test_times_are_local_to_the_zone_and_given_in_utc():
    spec = ScheduleSpec("0 9 * * *", "America/New_York")
    assert next_times(spec, NOON, count=2) == (
        datetime(2026, 3, 2, 14, 0, tzinfo=UTC),
        datetime(2026, 3, 3, 14, 0, tzinfo=UTC),
    )


def test_a_time_that_the_clock_change_skips_fires_just_after_it():
    spec = ScheduleSpec("30 2 * * *", "Europe/Berlin")
    (at,) = next_times(spec, datetime(2026, 3, 28, 12, tzinfo=UTC), count=1)
    assert at.astimezone(ZoneInfo("Europe/Berlin")) == datetime(
        2026, 3, 29, 3, 0, tzinfo=ZoneInfo("Europe/Berlin")
    )


def test_a_time_that_the_clock_change_repeats_fires_once():
    spec = ScheduleSpec("30 2 * * *", "Europe/Berlin")
    assert next_times(spec, datetime(2026, 10, 24, 12, tzinfo=UTC), count=2) == (
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    )


def test_asked_within_the_repeated_hour_the_next_time_is_later():
    spec = ScheduleSpec("30 2 * * *", "Europe/Berlin")
    after = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert next_times(spec, after, count=1) == (datetime(2026, 10, 26, 1, 30, tzinfo=UTC),)


def test_a_time_is_not_its_own_next():
    spec = ScheduleSpec("0 12 * * *")
    assert next_times(spec, NOON, count=1) == (NOON + timedelta(days=1),)


def test_a_leap_day_is_found_years_ahead():
    spec = ScheduleSpec("0 0 29 2 *")
    assert next_times(spec, NOON, count=1) == (datetime(2028, 2, 29, tzinfo=UTC),)


def test_no_times_are_given_when_none_are_asked_for():
    assert next_times(ScheduleSpec("* * * * *"), NOON, count=0) == ()


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        next_times(ScheduleSpec("* * * * *"), NOON.replace(tzinfo=None), count=1)


@pytest.mark.parametrize(
    ("cron", "late", "expected"),
    [
        ("* * * * *", timedelta(seconds=29), False),
        ("* * * * *", timedelta(seconds=30), True),
        ("0 * * * *", timedelta(minutes=29), False),
        ("0 * * * *", timedelta(minutes=31), True),
        ("* * * * *", timedelta(days=3), True),
    ],
)
def test_a_time_is_overtaken_from_half_way_to_the_next_one_on(
    cron: str, late: timedelta, expected: bool
):
    assert is_overtaken(ScheduleSpec(cron), NOON, now=NOON + late) is expected


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    """Draw one field of a cron expression."""
    number = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.builds("*/{}".format, st.integers(1, high)),
        number.map(str),
        st.builds("{},{}".format, number, number),
    )


@settings(max_examples=60)
@given(
    st.tuples(fields(0, 59), fields(0, 23), fields(1, 28), fields(1, 12), fields(0, 7)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.integers(0, 10 * 365 * 24 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes)),
)
def test_times_always_lie_ahead_and_rise(parts: tuple[str, ...], zone: str, after: datetime):
    spec = read_schedule(" ".join(parts), timezone=zone)
    times = (after, *next_times(spec, after, count=4))
    assert len(times) == 5
    assert list(times) == sorted(set(times))


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from([*"0159*/-,#L? @", "MON", "JAN", "LW", "²"]), max_size=20).map(
        "".join
    ),
    st.text(max_size=10),
)
def test_any_text_is_a_schedule_or_is_told_why_not(cron: str, timezone: str):
    assert all(problem.hint for problem in check_schedule(cron, timezone))
