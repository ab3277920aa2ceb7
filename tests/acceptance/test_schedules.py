"""Schedules fire: Prefect inserts runs of our cron entries, and no longer once they are removed.

This also guards the bound on SQLAlchemy: with a newer one Prefect's scheduler inserts nothing.
"""

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from domain.executions import Execution, ExecutionStatus, Trigger
from persistence.executions import list_executions
from persistence.schedules import add_schedule, remove_schedule
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_minute_schedule_makes_executions_until_it_is_removed(
    services: Services, database: Database
):
    workflow = save_workflow(database, ACME, chain("Minutely", {"type": "probe", "config": {}}))
    services.steward()
    services.worker()
    with database.org(ACME, user_id=ADMIN) as session:
        schedule = add_schedule(
            session,
            workflow.id,
            cron="* * * * *",
            timezone="Europe/Berlin",
            input_data={"text": "every minute"},
        )

    def find_completed() -> Execution | None:
        with database.org(ACME) as session:
            found = list_executions(session, status=ExecutionStatus.COMPLETED)
        return found[0] if found else None

    execution = wait_for("a completed scheduled execution", find_completed, timeout_s=100)
    assert execution.trigger is Trigger.SCHEDULE
    assert execution.input_data == {"text": "every minute"}
    assert execution.requested_by == ADMIN
    api = PrefectApi(services.stack.prefect_api_url)
    flow_run = api.flow_run(str(execution.prefect_flow_run_id))
    assert flow_run["auto_scheduled"]
    assert flow_run["created_by"]["display_value"] == schedule.id
    assert flow_run["name"] == execution.id

    with database.org(ACME, user_id=ADMIN) as session:
        remove_schedule(session, schedule.id)
    wait_for("no run planned any more", lambda: not api.flow_runs_in("SCHEDULED"), timeout_s=30)
    assert api.deployment("acme.minutely", "live")["schedules"] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ticks_that_are_late_go_together_and_each_is_carried_out_once(
    services: Services, database: Database
):
    workflows = [
        save_workflow(database, ACME, chain(name, {"type": "probe", "config": {}}))
        for name in ("First", "Second")
    ]
    with database.org(ACME, user_id=ADMIN) as session:
        for workflow in workflows:
            add_schedule(
                session, workflow.id, cron="* * * * *", timezone="UTC", input_data={"text": "go"}
            )
    services.steward()
    api = PrefectApi(services.stack.prefect_api_url)

    def planned() -> list[str] | None:
        found = [run["id"] for run in api.flow_runs_in("SCHEDULED")]
        return found if len(found) >= 16 else None

    late = wait_for("the next minutes' runs", planned, timeout_s=100)
    make_late(services, late)
    for _ in range(2):
        services.worker()

    def carried_out() -> list[Execution] | None:
        with database.org(ACME) as session:
            found = list_executions(session, status=ExecutionStatus.COMPLETED, limit=200)
        of_late = [each for each in found if each.idempotency_key in keys]
        return of_late if len(of_late) >= len(late) else None

    keys = {f"prefect:{id}" for id in late}
    executions = wait_for("all of them completed", carried_out, timeout_s=120)
    assert {execution.idempotency_key for execution in executions} == keys
    assert len(executions) == len(late)
    assert {execution.trigger for execution in executions} == {Trigger.SCHEDULE}
    assert {execution.requested_by for execution in executions} == {ADMIN}
    assert len({execution.run_id for execution in executions}) < len(late)
    states = [api.flow_run(id)["state"] for id in late]
    assert {(state["type"], state["name"]) for state in states} == {("COMPLETED", "Queued")}
    told = {state["message"].rpartition(" ")[2].rstrip(".") for state in states}
    assert told == {execution.id for execution in executions}


def make_late(services: Services, flow_runs: list[str]) -> None:
    """Have these runs been due twenty minutes ago and later, as after an outage."""
    engine = create_engine(services.stack.prefect_database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(
            text("""
            update flow_run set expected_start_time = expected_start_time - interval '20 minutes',
                next_scheduled_start_time = next_scheduled_start_time - interval '20 minutes'
            where id = any(cast(:ids as uuid[]))
            """),
            {"ids": flow_runs},
        )
