"""Prefect's own command runs our worker type."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from domain.executions import ExecutionStatus
from domain.ids import ExecutionId, WorkflowId
from persistence.executions import get_execution
from persistence.sessions import Database
from persistence.workflows import get_workflow
from tests.support.databases import ACME
from tests.support.factories import chain, queue, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final

PROBE = {"type": "probe", "config": {}}


@pytest.mark.timeout(180)
def test_prefect_worker_start_carries_out_executions(services: Services, database: Database):
    text = "fintechs in New York with 50 to 200 people"
    definition = chain("Ask", {"type": "lead_request"}).model_copy(update={"default_input": text})
    workflow = save_workflow(database, ACME, definition)
    execution = queue(database, ACME, workflow, {"text": text})
    process = services.prefect("worker", "start", "--pool", "tenantry", "--type", "tenantry")
    (found,) = wait_until_final(database, ACME, [execution.id])
    assert found.status is ExecutionStatus.COMPLETED
    assert found.output is not None
    assert found.output["criteria"]
    # The first one has published it.
    deployment_id = published(database, workflow.id)
    assert deployment_id is not None
    api = PrefectApi(services.stack.prefect_api_url)
    pressed = api.run_deployment(deployment_id)["id"]
    wait_for("the Run button's", lambda: counted(database, workflow.id) == 2)
    assert api.flow_run(pressed)["state"]["type"] == "COMPLETED"
    process.terminate()
    assert ended_with(process, services) == 0, services.log()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ctrl_c", [signal.SIG_DFL, signal.SIG_IGN], ids=["shell", "background"])
def test_prefect_worker_start_drains_on_sigterm_in_the_middle_of_runs(
    services: Services, database: Database, ctrl_c: signal.Handlers
):
    workflow = save_workflow(database, ACME, chain("Slow", PROBE | {"config": {"sleep_s": 2}}))
    executions = [queue(database, ACME, workflow, {"text": str(n)}).id for n in range(3)]
    with inherited(ctrl_c):
        process = services.prefect(
            "worker", "start", "--pool", "tenantry", "--type", "tenantry-probe"
        )
    wait_for("a run", lambda: statuses(database, executions) == {ExecutionStatus.RUNNING})
    process.terminate()
    assert ended_with(process, services) == 0, services.log()
    # What had begun was finished.
    assert statuses(database, executions) == {ExecutionStatus.COMPLETED}


def test_a_worker_takes_more_of_what_prefect_made_as_places_get_free(
    services: Services, database: Database
):
    workflow = save_workflow(
        database, ACME, chain("Pressed", PROBE).model_copy(update={"default_input": "x"})
    )
    services.steward()
    deployment_id = wait_for("a deployment", lambda: published(database, workflow.id))
    api = PrefectApi(services.stack.prefect_api_url)
    pressed = [api.run_deployment(deployment_id)["id"] for _ in range(7)]
    # Asking once a minute, and for two at a time, it would need four minutes.
    services.environ |= {"TENANTRY_WORKER_LIMIT": "2", "TENANTRY_PREFECT_POLL_S": "60"}
    services.worker()

    wait_for("all of them carried out", lambda: counted(database, workflow.id) == len(pressed))
    states = [api.flow_run(id)["state"] for id in pressed]
    assert {(state["type"], state["name"]) for state in states} == {("COMPLETED", "Completed")}


@contextmanager
def inherited(ctrl_c: signal.Handlers) -> Iterator[None]:
    """Start processes as a shell does, or as a script in its background, who ignore SIGINT."""
    before = signal.signal(signal.SIGINT, ctrl_c)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ended_with(process: subprocess.Popen[bytes], services: Services) -> int:
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it goes on:\n{services.log()}")


def statuses(database: Database, ids: list[ExecutionId]) -> set[ExecutionStatus]:
    with database.org(ACME) as session:
        return {get_execution(session, id).status for id in ids}


def counted(database: Database, workflow_id: WorkflowId) -> int:
    with database.org(ACME) as session:
        return get_workflow(session, workflow_id).execution_count


def published(database: Database, workflow_id: WorkflowId) -> str | None:
    with database.org(ACME) as session:
        found = get_workflow(session, workflow_id).prefect_deployment_id
    return str(found) if found else None
