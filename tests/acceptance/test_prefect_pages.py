"""What a platform engineer sees of runs on Prefect's pages, and in a worker's log."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.executions import ExecutionStatus
from persistence.execution_cancel import request_cancel
from persistence.executions import get_execution, list_executions
from persistence.sessions import Database
from persistence.workflows import get_workflow
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, queue, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final

pytestmark = pytest.mark.timeout(240)
SECRET = "Canary GmbH in Berlin"


def ask(services: Services, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    url = f"{services.stack.prefect_api_url}{path}"
    return httpx.request(method, url, json=body, timeout=30).raise_for_status().json()


def test_a_run_button_run_is_tagged_and_one_with_a_parameter_is_refused_with_a_sentence(
    services: Services, database: Database
):
    definition = chain("Pages", {"type": "probe", "config": {}})
    definition = definition.model_copy(
        update={"default_input": {"text": "x"}, "description": SECRET}
    )
    workflow = save_workflow(database, ACME, definition)
    services.steward()
    services.worker()

    def deployment_id() -> str | None:
        with database.org(ACME) as session:
            found = get_workflow(session, workflow.id).prefect_deployment_id
        return str(found) if found else None

    deployment = wait_for("a deployment", deployment_id)
    shown = ask(services, "GET", f"/deployments/{deployment}")["description"]
    assert workflow.id in shown
    assert "version 1" in shown
    assert SECRET not in shown

    api = PrefectApi(services.stack.prefect_api_url)
    path = f"/deployments/{deployment}/create_flow_run"
    pressed = ask(services, "POST", path, {})["id"]
    wait_for("it done", lambda: api.flow_run(pressed)["state"]["type"] == "COMPLETED")
    wait_for("its tag", lambda: "trigger:prefect_ui" in api.flow_run(pressed)["tags"])

    given = ask(services, "POST", path, {"parameters": {"run": SECRET}})["id"]
    wait_for("it refused", lambda: api.flow_run(given)["state"]["type"] == "CANCELLED")
    assert "takes no parameter" in api.flow_run(given)["state"]["message"]
    with database.org(ACME) as session:
        assert len(list_executions(session)) == 1


def test_a_cancelled_executions_task_is_cancelled_too_and_neither_is_called_a_crash(
    services: Services, database: Database, tmp_path: Path
):
    gate = {"type": "probe", "config": {"gate": str(tmp_path / "never")}}
    workflow = save_workflow(database, ACME, chain("Stopped", gate))
    services.steward()
    services.worker()
    id = queue(database, ACME, workflow, {"text": "x"}).id

    def flow_run() -> str | None:
        with database.org(ACME) as session:
            found = get_execution(session, id)
        return str(found.prefect_flow_run_id) if found.status == "RUNNING" else None

    flow_run_id = wait_for("it running", flow_run)
    with database.org(ACME, user_id=ADMIN) as session:
        request_cancel(session, id)
    wait_until_final(database, ACME, [id])

    def ended(kind: str) -> set[str] | None:
        wanted = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        found = {each["state"]["name"] for each in ask(services, "POST", f"/{kind}/filter", wanted)}
        return found if found and found.isdisjoint({"Running", "Pending", "Cancelling"}) else None

    assert wait_for("the run's end", lambda: ended("flow_runs")) == {"Cancelled"}
    assert wait_for("the task's end", lambda: ended("task_runs")) == {"Cancelled"}
    assert "Crash detected" not in services.log()


def test_failures_retries_and_a_drain_log_no_traceback(services: Services, database: Database):
    broken = {"type": "probe", "config": {"obey": True}}
    slow = {"type": "probe", "config": {"sleep_s": 60}}
    failing = save_workflow(database, ACME, chain("Failing", broken))
    sleeping = save_workflow(database, ACME, chain("Sleeping", slow))
    services.environ |= {"TENANTRY_DRAIN_GRACE_S": "1", "TENANTRY_MAX_BATCH": "1"}
    services.steward()
    worker = services.worker()
    failed = [queue(database, ACME, failing, {"mode": mode}).id for mode in ("fail", "flaky")]
    wait_until_final(database, ACME, failed)
    ids = [queue(database, ACME, sleeping, {"text": "x"}).id for _ in range(3)]

    def running() -> bool:
        with database.org(ACME) as session:
            found = [get_execution(session, id).status for id in ids]
        return set(found) == {ExecutionStatus.RUNNING}

    wait_for("all under way", running)
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    log = services.log()
    assert "NoneType: None" not in log
    assert log.count("Traceback") == 0, log
