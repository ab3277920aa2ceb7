"""Prefect fires what is shown: expressions as it is given them, against its own reading."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from prefect._vendor.croniter import croniter
from prefect.client.schemas.schedules import CronSchedule

from domain.catalog import Schedule
from domain.cron_dialect import plain_cron, skips_first_of_march
from domain.ids import OrgId, ScheduleId, WorkflowId
from domain.schedules import ScheduleInvalid, ScheduleSpec, check_schedule, next_times
from flows.schedule_translation import fingerprint, publishable, to_prefect

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
REFUSED = ["0 9 * * 5L", "0 9 LW * *", "0 9 30 2 1", "0 9 * * MON#1,FRI", "0 9 4 * 1#4"]


def schedule(cron: str, timezone: str = "UTC", number: int = 1) -> Schedule:
    return Schedule(
        id=ScheduleId(f"sched_{number}"),
        org_id=OrgId("org_1"),
        workflow_id=WorkflowId("wf_1"),
        cron=cron,
        timezone=timezone,
        input_data={},
        created_by=None,
        created_at=NOON,
    )


@pytest.mark.parametrize("cron", REFUSED)
def test_what_prefect_does_not_take_is_refused_where_it_is_added(cron: str):
    (problem,) = check_schedule(cron, "UTC")
    assert problem.pointer == "/cron"
    assert problem.hint


@pytest.mark.parametrize("cron", REFUSED)
def test_a_refused_schedule_that_stands_already_keeps_no_other_from_being_published(cron: str):
    standing = [schedule(cron), schedule("* * * * *", number=2)]
    assert [each.slug for each in publishable(standing)] == ["sched_2"]
    with pytest.raises(ScheduleInvalid):
        to_prefect(standing[0])


@pytest.mark.parametrize(
    ("cron", "given_to_prefect", "day_or"),
    [
        ("0 9 */2 * 1", "0 9 */2 * 1", False),
        ("0 9 1 * 1", "0 9 1 * 1", True),
        ("0 9 * * mon-fri", "0 9 * * MON-FRI", True),
        ("0 9 * * 3-3", "0 9 * * 3", True),
        ("0 9 * * 7/2", "0 9 * * 0", True),
        ("0 9 1-31 * 1", "0 9 * * *", True),
        ("0 9 * * 5-7", "0 9 * * 0,5,6", True),
        ("*/15 8-18 * * *", "*/15 8-18 * * *", True),
        ("0 9 L * *", "0 9 L * *", True),
    ],
)
def test_prefect_is_given_the_same_meaning(cron: str, given_to_prefect: str, day_or: bool):
    plain = plain_cron(cron)
    assert (plain.cron, plain.day_or) == (given_to_prefect, day_or)


def test_an_ordinary_schedule_is_not_published_again_by_a_newer_version():
    assert fingerprint(schedule("0 9 * * *", "Europe/Berlin")) == [
        "sched_1",
        "0 9 * * *",
        "Europe/Berlin",
    ]


def terms(low: int, high: int, *more: str) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    term = st.one_of(
        number.map(str),
        st.builds("{}-{}".format, number, number),
        st.builds("*/{}".format, st.integers(1, high + 3)),
        st.builds("{}/{}".format, number, st.integers(1, high)),
        st.builds("{}-{}/{}".format, number, number, st.integers(1, high)),
        st.sampled_from(["*", *more]),
    )
    return st.just("*") | st.lists(term, min_size=1, max_size=3).map(",".join)


CRONS = st.tuples(
    st.just("0") | terms(0, 59),
    st.just("9") | terms(0, 23),
    terms(1, 31, "L", "LW", "15W"),
    terms(1, 12, "JAN", "JUN", "dec"),
    terms(0, 7, "MON", "sun", "5#2", "SAT#5", "5L", "FRI-MON", "MON-FRI"),
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(
    CRONS, st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes))
)
@example("0 9 */2 * 1", NOON)
@example("0 9 L * 5", NOON)
@example("0 9 * * 5#2", NOON)
def test_every_accepted_expression_fires_in_prefect_when_it_is_shown(cron: str, after: datetime):
    assume(not check_schedule(cron, "UTC"))
    shown = next_times(ScheduleSpec(cron), after, count=4)
    wanted = to_prefect(schedule(cron)).schedule
    assert isinstance(wanted, CronSchedule)
    fired = croniter(wanted.cron, after.replace(tzinfo=None), day_or=wanted.day_or)
    times = [fired.get_next(datetime).replace(tzinfo=UTC) for _ in range(4)]
    if skips_first_of_march(cron):
        # The first days of March, which Prefect skips, are fired by the steward.
        shown = tuple(at for at in shown if (at.month, at.day) not in {(3, 1), (3, 2)})
        times = [at for at in times if (at.month, at.day) not in {(3, 1), (3, 2)}]
    common = min(len(shown), len(times))
    assert list(shown[:common]) == times[:common]
