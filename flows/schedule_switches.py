"""Schedules that somebody switched on or off in Prefect: what they chose there holds here too."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from prefect.client.schemas.responses import DeploymentResponse

from domain.catalog import PausedBy, Schedule
from domain.ids import OrgId, ScheduleId
from persistence.schedules import pause_schedule, resume_schedule
from persistence.sessions import Database

_PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Switch:
    """A schedule that is to be paused, or to go on, because it is so in Prefect."""

    org_id: OrgId
    schedule_id: ScheduleId
    paused_by: PausedBy | None
    """`None` where it goes on."""

    def __str__(self) -> str:
        if self.paused_by is PausedBy.PREFECT_DEPLOYMENT:
            return f"the deployment of {self.schedule_id} is paused"
        return f"{self.schedule_id} is switched {'off' if self.paused_by else 'on'}"


def find_switches(
    schedules: Sequence[Schedule],
    published: Mapping[str, Any] | None,
    there: DeploymentResponse,
) -> list[Switch]:
    """List what was switched in Prefect since a workflow was published.

    Compared with what was published, and not with what is wanted now: a pause that waits to be
    published is nobody's switch.
    """
    was_on = dict(_published_switches(published))
    is_on = {schedule.slug: bool(schedule.active) for schedule in there.schedules}
    found: list[Switch] = []
    for schedule in schedules:
        own = (schedule.org_id, schedule.id)
        switched = schedule.id in was_on and is_on.get(schedule.id) is (not was_on[schedule.id])
        if switched:
            found.append(Switch(*own, None if is_on[schedule.id] else PausedBy.PREFECT))
        elif there.paused and schedule.paused_at is None:
            found.append(Switch(*own, PausedBy.PREFECT_DEPLOYMENT))
        elif not there.paused and schedule.paused_by == PausedBy.PREFECT_DEPLOYMENT:
            found.append(Switch(*own, None))
    return found


async def mirror_switches(database: Database, switches: Sequence[Switch]) -> None:
    """Pause and resume our schedules as they were in Prefect; doing it again changes nothing."""

    def mirror() -> None:
        for switch in switches:
            # Without a user: Prefect does not say who it was.
            with database.org(switch.org_id) as session:
                if switch.paused_by is None:
                    resume_schedule(session, switch.schedule_id, by_prefect=True)
                else:
                    pause_schedule(session, switch.schedule_id, by=switch.paused_by)

    await asyncio.to_thread(mirror)


def _published_switches(published: Mapping[str, Any] | None) -> list[tuple[ScheduleId, bool]]:
    entries = cast(list[list[Any]], (published or {}).get("schedules", []))
    return [(ScheduleId(str(entry[0])), _PAUSED not in entry[1:]) for entry in entries]
