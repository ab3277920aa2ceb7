"""One of our schedules as Prefect's, and Prefect's in the same terms, to compare them."""

from collections.abc import Iterable
from functools import lru_cache

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from domain.catalog import PausedBy, Schedule
from domain.cron_dialect import plain_cron
from domain.errors import ErrorCode
from domain.json_data import JsonValue
from domain.schedules import ScheduleInvalid, check_schedule

_CACHE_SIZE = 8192
# What makes a schedule fire, and when: slug, cron, zone, which days, whether it does, with what.
Firing = tuple[str | None, str, str | None, bool, bool, str]


def to_prefect(schedule: Schedule) -> DeploymentScheduleCreate:
    """Translate a schedule so that Prefect fires it when `domain.schedules.next_times` says.

    Raises:
        ScheduleInvalid: it never fires, or Prefect does not take it.
    """
    found = _translate(schedule.cron, schedule.timezone)
    if isinstance(found, ScheduleInvalid):
        raise found
    return DeploymentScheduleCreate(
        schedule=found, active=not _is_switched_off(schedule), slug=schedule.id
    )


def find_refusal(schedule: Schedule) -> ScheduleInvalid | None:
    """Say why a schedule cannot be published, if it cannot."""
    found = _translate(schedule.cron, schedule.timezone)
    return found if isinstance(found, ScheduleInvalid) else None


def publishable(schedules: Iterable[Schedule]) -> list[DeploymentScheduleCreate]:
    """Translate the schedules that Prefect takes; one that it does not take harms no other."""
    found: list[DeploymentScheduleCreate] = []
    for schedule in schedules:
        try:
            found.append(to_prefect(schedule))
        except ScheduleInvalid:
            continue  # `find_refusal` says why, and whoever publishes tells it
    return found


def fingerprint(schedule: Schedule) -> list[JsonValue]:
    """Say what Prefect is given of a schedule: the same again need not be published."""
    found = _translate(schedule.cron, schedule.timezone)
    if isinstance(found, ScheduleInvalid):
        return [schedule.id, "refused"]
    days: list[JsonValue] = [] if found.day_or else ["both days"]
    paused: list[JsonValue] = ["paused"] if _is_switched_off(schedule) else []
    return [schedule.id, found.cron, found.timezone, *days, *paused]


def firing_of(schedule: DeploymentScheduleCreate | DeploymentSchedule) -> Firing:
    """Say when a schedule in Prefect fires, in terms that can be compared."""
    cron, timezone, day_or = type(schedule.schedule).__name__, None, True
    if isinstance(schedule.schedule, CronSchedule):
        found = schedule.schedule
        cron, timezone, day_or = found.cron, found.timezone, found.day_or
    parameters = repr(schedule.parameters or {})
    return schedule.slug, cron, timezone, day_or, bool(schedule.active), parameters


def _is_switched_off(schedule: Schedule) -> bool:
    # Where the deployment is paused its schedules keep their switches, for when it goes on.
    is_held = schedule.paused_by == PausedBy.PREFECT_DEPLOYMENT
    return schedule.paused_at is not None and not is_held


@lru_cache(_CACHE_SIZE)
def _translate(cron: str, timezone: str) -> CronSchedule | ScheduleInvalid:
    problems = check_schedule(cron, timezone)
    if problems:
        return ScheduleInvalid(problems)
    plain = plain_cron(cron)
    try:
        return CronSchedule(cron=plain.cron, timezone=timezone, day_or=plain.day_or)
    except ValidationError:
        # Our rules hold to Prefect's, and a property looks for what they miss: this is a net.
        return ScheduleInvalid.one(
            ErrorCode.SCHEDULE_INVALID,
            "/cron",
            "Prefect does not take this schedule.",
            "Write it with plain numbers, lists and steps, such as `0 9 1,15 * *`.",
        )
