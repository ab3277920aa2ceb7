"""Enqueue the ticks of schedules that Prefect does not fire: see `domain.ticks`.

The steward does it, without Prefect. A tick has one key, so that it makes one execution if Prefect
fires it after all, or if two stewards come to it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.catalog import Schedule
from domain.clock import utc_now
from domain.executions import Execution, Trigger
from domain.ids import UserId
from domain.limits import QueueFull
from domain.schedules import ScheduleSpec, check_schedule
from domain.ticks import (
    MARGIN,
    is_told_by_key,
    may_be_told_by_key,
    tick_key,
    ticks_to_fire,
)
from persistence.executions import add_execution, find_by_key
from persistence.limits import measure_room
from persistence.schedules import list_schedule_timezones, list_schedules_in
from persistence.sessions import Database
from persistence.workflows import find_owner

_LOG = logging.getLogger("tenantry.steward")


@dataclass(slots=True)
class MissedTicks:
    """Until when each zone's ticks were looked at; lost with the steward, and then looked up."""

    fired_until: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def fire(self, database: Database, *, now: datetime) -> int:
        """Enqueue what was due since the last look, at most three hours back; return how many.

        Far from every clock change, and from the first days of March, it asks nothing.
        """
        # An hour back, too: what was due at the end of it may not have been looked at.
        if not any(map(may_be_told_by_key, (now, now - timedelta(hours=1)))):
            return 0
        with database.for_platform() as session:
            zones = list_schedule_timezones(session)
        count = 0
        for zone in zones:
            after = max(self.fired_until.get(zone, now - MARGIN), now - MARGIN)
            if is_told_by_key(zone, now) or is_told_by_key(zone, after):
                with database.for_platform() as session:
                    schedules = list_schedules_in(session, zone)
                count += _fire(database, schedules, after=after, until=now)
            self.fired_until[zone] = now
        return count


def enqueue_tick(database: Database, schedule: Schedule, due: datetime) -> Execution | None:
    """Enqueue what a schedule does at one of its times, once, whoever calls it how often.

    Returns:
        `None` if its workflow cannot run.

    Raises:
        QueueFull: the organization's queue has no room.
    """
    with database.for_platform() as session:
        workflow = find_owner(session, schedule.workflow_id)
    if workflow is None or not workflow.is_runnable:
        return None
    key = tick_key(schedule.id, due)
    with database.org(schedule.org_id) as session:
        known = find_by_key(session, key)
        if known is not None:
            return known
        measure_room(session).check_can_hold(1)
        session.user_id = UserId(schedule.created_by) if schedule.created_by else None
        return add_execution(
            session,
            workflow.id,
            version=workflow.version,
            input_data=schedule.input_data,
            trigger=Trigger.SCHEDULE,
            idempotency_key=key,
            schedule_id=schedule.id,
        )


def _fire(
    database: Database, schedules: Sequence[Schedule], *, after: datetime, until: datetime
) -> int:
    count, began = 0, utc_now()
    for schedule in schedules:
        if check_schedule(schedule.cron, schedule.timezone):
            continue  # not published either
        since = max(after, schedule.created_at)
        spec = ScheduleSpec(schedule.cron, schedule.timezone)
        for due in ticks_to_fire(spec, after=since, until=until):
            try:
                added = enqueue_tick(database, schedule, due)
            except QueueFull as error:
                _LOG.warning(
                    "tick refused schedule_id=%s due=%s: %s", schedule.id, due, error.message
                )
            else:
                count += added is not None and added.created_at >= began
    return count
