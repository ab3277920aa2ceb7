"""What was switched in Prefect is told from what waits to be published."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from domain.catalog import PausedBy, Schedule
from domain.ids import OrgId, ScheduleId, WorkflowId
from flows.schedule_switches import find_switches
from flows.schedule_translation import fingerprint, to_prefect

ON = Schedule(
    id=ScheduleId("sched_1"),
    org_id=OrgId("org_1"),
    workflow_id=WorkflowId("wf_1"),
    cron="0 9 * * *",
    timezone="UTC",
    input_data={},
    created_by=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
OFF = replace(ON, paused_at=datetime(2026, 1, 2, tzinfo=UTC), paused_by="user_1")
HELD = replace(OFF, paused_by=PausedBy.PREFECT_DEPLOYMENT.value)


def there(*, active: bool, paused: bool = False) -> DeploymentResponse:
    cron = CronSchedule(cron="0 9 * * *", timezone="UTC")
    schedule = DeploymentSchedule(slug=ON.id, schedule=cron, active=active)
    return DeploymentResponse(flow_id=uuid4(), name="live", paused=paused, schedules=[schedule])


def found(
    wanted: Schedule, published: Schedule, deployment: DeploymentResponse
) -> list[PausedBy | None]:
    document = {"schedules": [fingerprint(published)]}
    return [each.paused_by for each in find_switches([wanted], document, deployment)]


def test_a_schedule_that_was_published_on_and_is_off_was_switched_off():
    assert found(ON, ON, there(active=False)) == [PausedBy.PREFECT]


def test_a_schedule_that_was_published_off_and_is_on_was_switched_on():
    assert found(OFF, OFF, there(active=True)) == [None]


def test_a_pause_or_a_resume_that_waits_to_be_published_is_no_switch():
    assert found(OFF, ON, there(active=True)) == []
    assert found(ON, OFF, there(active=False)) == []


def test_a_paused_deployment_holds_its_schedules_until_it_is_resumed():
    assert found(ON, ON, there(active=True, paused=True)) == [PausedBy.PREFECT_DEPLOYMENT]
    assert found(HELD, ON, there(active=True, paused=True)) == []
    assert found(HELD, ON, there(active=True)) == [None]
    assert found(OFF, OFF, there(active=False, paused=True)) == []


def test_a_held_schedule_keeps_its_switch_in_prefect_and_a_paused_one_is_off():
    assert [to_prefect(each).active for each in (ON, OFF, HELD)] == [True, False, True]
    assert fingerprint(HELD) == fingerprint(ON) != fingerprint(OFF)
