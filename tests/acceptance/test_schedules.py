"""Schedules fire: Prefect inserts runs of our cron entries, and no longer once they are removed.

This also guards the bound on SQLAlchemy: with a newer one Prefect's scheduler inserts nothing.
"""

import pytest

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
