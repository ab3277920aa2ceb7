"""How a worker starts runs in Prefect: what it remembers, and what it does when that is wrong."""

import httpx
import pytest

from domain.executions import ExecutionStatus
from persistence.executions import get_execution
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import chain, queue, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final


@pytest.mark.timeout(180)
def test_a_deployment_deleted_in_prefect_between_two_executions_is_made_again(
    services: Services, database: Database
):
    workflow = save_workflow(database, ACME, chain("Twice", {"type": "probe", "config": {}}))
    services.worker()  # and no steward, which would make the deployment again by itself
    api = PrefectApi(services.stack.prefect_api_url)
    deployments: list[str] = []
    for _ in range(3):
        added = queue(database, ACME, workflow)
        (execution,) = wait_until_final(database, ACME, [added.id])
        assert execution.status is ExecutionStatus.COMPLETED
        deployments.append(api.flow_run(str(execution.prefect_flow_run_id))["deployment_id"])
        if len(deployments) == 2:
            url = f"{services.stack.prefect_api_url}/deployments/{deployments[0]}"
            httpx.delete(url, timeout=30).raise_for_status()
    assert deployments[0] == deployments[1] != deployments[2]


@pytest.mark.timeout(180)
def test_a_run_suspended_in_prefect_stops_before_its_next_agent(
    services: Services, database: Database, tmp_path
):
    effects = tmp_path / "effects"
    slow = {"type": "probe", "config": {"sleep_s": 6, "effects": str(effects)}}
    workflow = save_workflow(database, ACME, chain("Long", slow, slow))
    added = queue(database, ACME, workflow)
    services.worker()  # and no steward, which would mirror it by itself
    api = PrefectApi(services.stack.prefect_api_url)

    def find_running() -> str | None:
        runs = [run for run in api.flow_runs_in("RUNNING") if run["name"] == added.id]
        return runs[0]["id"] if runs else None

    flow_run_id = wait_for("a running flow run", find_running)
    api.suspend(flow_run_id)

    def is_paused() -> bool:
        with database.org(ACME) as session:
            return get_execution(session, added.id).status is ExecutionStatus.PAUSED

    wait_for("the execution paused", is_paused)
    assert api.flow_run(flow_run_id)["state"]["name"] == "Suspended"
    assert effects.read_text().count("Step 1") == 1
    assert "Step 2" not in effects.read_text()
