"""What platform engineers see in Prefect, and what nobody sees there."""

from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from domain.executions import Execution, ExecutionStatus, Trigger
from persistence.executions import add_execution, list_executions
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final

CANARY = "canary7f3a"
TEXT_COLUMNS = text(
    "select table_name, column_name from information_schema.columns "
    "where table_schema = 'public' and data_type in "
    "('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY', 'USER-DEFINED') order by 1, 2"
)


def run_once(database: Database, workflow, input_data) -> str:
    with database.org(ACME, user_id=ADMIN) as session:
        return add_execution(
            session,
            workflow.id,
            version=1,
            input_data=input_data,
            trigger=Trigger.API,
        ).id


@pytest.mark.timeout(180)
def test_prefect_shows_the_run_by_its_agents_and_nothing_of_the_tenants(
    services: Services, database: Database, subtests
):
    obeying = {"type": "probe", "config": {"obey": True}, "options": {"retries": 0}}
    workflow = save_workflow(database, ACME, chain("Canary flight", obeying, obeying, obeying))
    services.steward()
    services.environ["TENANTRY_MAX_BATCH"] = "1"
    services.worker()
    api = PrefectApi(services.stack.prefect_api_url)
    inputs = [
        {"mode": mode, "secret": f"{CANARY} {mode}", "text": CANARY}
        for mode in ("ok", "fail", "boom")
    ]
    ids = [run_once(database, workflow, item) for item in inputs]
    executions = wait_until_final(database, ACME, ids)
    assert [e.status for e in executions] == [
        ExecutionStatus.COMPLETED,
        ExecutionStatus.FAILED,
        ExecutionStatus.FAILED,
    ]
    ok = executions[0]
    flow_run = api.flow_run(str(ok.prefect_flow_run_id))

    with subtests.test("flow and deployment"):
        flow = api.flow_named("acme.canary-flight")
        deployment = api.deployment("acme.canary-flight", "live")
        assert flow_run["flow_id"] == flow["id"]
        assert flow_run["deployment_id"] == deployment["id"]
        assert deployment["entrypoint"] == f"flows.compiled.{workflow.id}"
    with subtests.test("name and tags"):
        assert flow_run["name"] == ok.id
        assert {"org:acme", "workflow:canary-flight", "trigger:api"} <= set(flow_run["tags"])
    with subtests.test("one task run per agent, under its name"):
        found = wait_for(
            "three recorded task runs",
            lambda: tasks if len(tasks := api.task_runs(flow_run["id"])) == 3 else None,
        )
        assert {task["name"] for task in found} == {"Step 1", "Step 2", "Step 3"}
        assert {task["state_type"] for task in found} == {"COMPLETED"}
    with subtests.test("a table of the agents"):
        (artifact,) = api.artifacts(flow_run["id"])
        assert artifact["type"] == "table"
        for name in ("Step 1", "Step 2", "Step 3"):
            assert name in str(artifact["data"])
        assert ok.id in artifact["description"]
    with subtests.test("no word of the tenant's anywhere in Prefect's database"):
        places = find_text(services.stack.prefect_database_url, CANARY)
        assert places == []
        # The same search finds what is there: it is no search that cannot find.
        assert find_text(services.stack.prefect_database_url, ok.id) != []
    with subtests.test("the tenant has it all"):
        assert CANARY in str(ok.output)
        assert CANARY not in str(executions[2].error)


@pytest.mark.timeout(180)
def test_the_run_button_makes_an_execution_of_the_default_input(
    services: Services, database: Database
):
    definition = chain("Button", {"type": "probe", "config": {}})
    workflow = save_workflow(
        database,
        ACME,
        definition.model_copy(update={"default_input": {"text": "the usual"}}),
    )
    services.steward()
    services.worker()
    api = PrefectApi(services.stack.prefect_api_url)

    def find_deployment() -> dict[str, Any] | None:
        try:
            return api.deployment("acme.button", "live")
        except httpx.HTTPStatusError:
            return None

    deployment = wait_for("the deployment", find_deployment)
    flow_run = api.run_deployment(deployment["id"])

    def find_execution() -> Execution | None:
        with database.org(ACME) as session:
            found = list_executions(session, workflow_id=workflow.id)
        return found[0] if found else None

    started = wait_for("its execution", find_execution)
    (execution,) = wait_until_final(database, ACME, [started.id])
    assert execution.status is ExecutionStatus.COMPLETED
    assert execution.trigger is Trigger.PREFECT_UI
    assert execution.input_data == {"text": "the usual"}
    assert execution.prefect_flow_run_id == flow_run["id"]
    assert api.flow_run(flow_run["id"])["name"] == execution.id


def find_text(url: str, wanted: str) -> list[str]:
    """Name every column of a database in which a text occurs."""
    found: list[str] = []
    with create_engine(make_url(url), poolclass=NullPool).connect() as connection:
        for table, column in connection.execute(TEXT_COLUMNS).all():
            query = text(f'select count(*) from "{table}" where "{column}"::text like :wanted')
            if connection.scalar(query, {"wanted": f"%{wanted}%"}):
                found.append(f"{table}.{column}")
    return found
