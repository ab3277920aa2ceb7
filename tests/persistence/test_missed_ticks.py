"""Ticks that Prefect does not fire: each makes one execution, whoever comes to it first."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import CreatedBy, FlowRun
from sqlalchemy import text

from domain.catalog import Schedule, Workflow
from domain.executions import Execution, Trigger
from domain.ticks import tick_key
from flows.adopt import Queued, Refusal, adopt_flow_run
from flows.missed_ticks import MissedTicks
from persistence.executions import list_executions
from persistence.schedules import add_schedule, remove_schedule
from persistence.sessions import Database
from persistence.workflows import set_published
from tests.support.databases import ACME, ADMIN
from tests.support.factories import simple_workflow

SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)
DEPLOYMENT = UUID("0195d6f0-0000-7000-8000-000000000001")


@pytest.fixture
def workflow(database: Database) -> Workflow:
    found = simple_workflow(database, ACME)
    with database.for_platform() as session:
        set_published(session, found.id, deployment_id=DEPLOYMENT, published={})
    return found


def plan(database: Database, workflow: Workflow, cron: str) -> Schedule:
    """Add a schedule of Berlin that has been there for long."""
    with database.org(ACME, user_id=ADMIN) as session:
        added = add_schedule(
            session, workflow.id, cron=cron, timezone="Europe/Berlin", input_data={"text": "go"}
        )
        session.execute(text("update schedules set created_at = '2026-01-01'"))
    return added


def made_by_prefect(schedule: Schedule, due: datetime) -> FlowRun:
    return FlowRun(
        flow_id=uuid4(),
        deployment_id=DEPLOYMENT,
        auto_scheduled=True,
        expected_start_time=due,  # type: ignore[arg-type]
        created_by=CreatedBy(id=uuid4(), type="SCHEDULE", display_value=schedule.id),
    )


def executions(database: Database) -> list[Execution]:
    with database.org(ACME) as session:
        return list_executions(session)


def test_the_time_that_clocks_skip_is_fired_when_they_have(database: Database, workflow: Workflow):
    schedule = plan(database, workflow, "30 2 * * *")
    ticks = MissedTicks()
    assert ticks.fire(database, now=SPRING - timedelta(seconds=9)) == 0
    assert ticks.fire(database, now=SPRING + timedelta(seconds=6)) == 1
    assert ticks.fire(database, now=SPRING + timedelta(seconds=21)) == 0
    (fired,) = executions(database)
    assert fired.trigger is Trigger.SCHEDULE
    assert fired.input_data == {"text": "go"}
    assert fired.requested_by == ADMIN
    assert fired.idempotency_key == tick_key(schedule.id, SPRING)


def test_what_prefect_fires_an_hour_early_is_refused_with_a_sentence(
    database: Database, workflow: Workflow
):
    schedule = plan(database, workflow, "30 2 * * *")
    early = made_by_prefect(schedule, SPRING - timedelta(minutes=30))
    refused = adopt_flow_run(database, early, worker="w", lease_s=60, agent_types=["probe"])
    assert isinstance(refused, Refusal)
    assert "does not fire at 01:30" in refused.message
    assert executions(database) == []


def test_the_second_of_two_equal_hours_is_fired_and_a_new_steward_fires_it_no_more(
    database: Database, workflow: Workflow
):
    plan(database, workflow, "*/30 * * * *")
    assert MissedTicks().fire(database, now=AUTUMN + timedelta(minutes=45)) == 2
    assert MissedTicks().fire(database, now=AUTUMN + timedelta(hours=2, minutes=30)) == 0
    assert len(executions(database)) == 2


@pytest.mark.parametrize("steward_is_first", [True, False])
def test_a_tick_that_prefect_and_the_steward_fire_makes_one_execution(
    database: Database, workflow: Workflow, steward_is_first: bool
):
    schedule = plan(database, workflow, "0 * * * *")
    flow_run = made_by_prefect(schedule, SPRING)
    ticks = MissedTicks()
    if steward_is_first:
        assert ticks.fire(database, now=SPRING) == 1
    for _ in range(2):
        adopted = adopt_flow_run(database, flow_run, worker="w", lease_s=60, agent_types=["probe"])
        assert isinstance(adopted, Queued)
    assert ticks.fire(database, now=SPRING) == 0
    (only,) = executions(database)
    assert adopted.execution_id == only.id


def test_far_from_clock_changes_and_without_a_schedule_nothing_is_fired(
    database: Database, workflow: Workflow
):
    schedule = plan(database, workflow, "*/30 * * * *")
    assert MissedTicks().fire(database, now=AUTUMN - timedelta(days=2)) == 0
    with database.org(ACME, user_id=ADMIN) as session:
        remove_schedule(session, schedule.id)
    assert MissedTicks().fire(database, now=AUTUMN + timedelta(minutes=45)) == 0


@pytest.mark.parametrize("parameters", [{"run": "Berlin"}, {"text": "Berlin"}])
def test_a_run_that_is_given_a_parameter_is_refused_and_its_value_not_repeated(
    database: Database, workflow: Workflow, parameters: dict[str, str]
):
    pressed = FlowRun(flow_id=uuid4(), deployment_id=DEPLOYMENT, parameters=parameters)
    refused = adopt_flow_run(database, pressed, worker="w", lease_s=60, agent_types=["probe"])
    assert isinstance(refused, Refusal)
    assert "takes no parameter" in refused.message
    assert "Berlin" not in refused.message
    assert executions(database) == []
