"""Whatever is killed, every execution ends, and nothing is done twice that was done."""

import os
import signal
from collections import Counter

import pytest

from deployments.embedded.layout import Home
from deployments.embedded.state import read_state
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.ids import ExecutionId
from persistence.audit import list_audit, verify_audit
from persistence.executions import add_execution, list_executions
from persistence.sessions import Database
from persistence.workflows import get_workflow
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final

pytestmark = pytest.mark.slow


@pytest.fixture
def twelve(database: Database, tmp_path) -> tuple[list[ExecutionId], str]:
    """Twelve executions of three agents that take half a second each."""
    effects = str(tmp_path / "effects")
    step = {"type": "probe", "config": {"effects": effects, "sleep_s": 0.5}}
    workflow = save_workflow(database, ACME, chain("Steps", step, step, step))
    ids: list[ExecutionId] = []
    for number in range(12):
        with database.org(ACME, user_id=ADMIN) as session:
            added = add_execution(
                session,
                workflow.id,
                version=1,
                input_data={"number": number},
                trigger=Trigger.API,
            )
        ids.append(added.id)
    return ids, effects


def some_have_answered(effects: str, count: int) -> bool:
    try:
        with open(effects) as file:
            return len(file.readlines()) >= count
    except FileNotFoundError:
        return False


def check_all_ended_once(database: Database, executions: list[Execution]) -> None:
    assert {e.status for e in executions} == {ExecutionStatus.COMPLETED}
    with database.org(ACME, snapshot=True) as session:
        (workflow_id,) = {e.workflow_id for e in list_executions(session, limit=1000)}
        found = get_workflow(session, workflow_id)
        entries = list_audit(session, limit=1000)
        assert verify_audit(session).ok
    assert found.execution_count == found.success_count == len(executions)
    ends = Counter(
        item.entry.execution_id for item in entries if item.entry.action == "workflow.executed"
    )
    assert ends == Counter(e.id for e in executions)
    for execution in executions:
        assert execution.output is not None
        assert execution.created_at <= execution.started_at <= execution.completed_at


def check_prefect_is_left_tidy(services: Services) -> None:
    api = PrefectApi(services.stack.prefect_api_url)
    wait_for(
        "Prefect with no run left open",
        lambda: not api.flow_runs_in("RUNNING", "PENDING", "CANCELLING"),
        timeout_s=60,
    )


@pytest.mark.timeout(240)
def test_executions_survive_a_killed_postgres(
    services: Services, database: Database, twelve, stack
):
    ids, effects = twelve
    services.steward()
    services.worker()
    wait_for("work under way", lambda: some_have_answered(effects, 4))
    postgres = read_state(Home(stack.settings.home).state_file).services["postgres"]
    os.kill(postgres.pid, signal.SIGKILL)
    executions = wait_until_final(database, ACME, ids, timeout_s=150)
    check_all_ended_once(database, executions)
    check_prefect_is_left_tidy(services)
    with open(effects) as file:
        assert Counter(Counter(file.readlines()).values()) == {1: 36}


@pytest.mark.timeout(240)
def test_a_killed_workers_executions_are_taken_up_by_another(
    services: Services, database: Database, twelve
):
    ids, effects = twelve
    services.steward()
    first = services.worker()
    wait_for("work under way", lambda: some_have_answered(effects, 4))
    first.kill()
    first.wait()
    services.worker()
    executions = wait_until_final(database, ACME, ids, timeout_s=150)
    check_all_ended_once(database, executions)
    check_prefect_is_left_tidy(services)
    assert max(e.attempt for e in executions) <= 2


@pytest.mark.timeout(240)
def test_a_stopped_worker_hands_back_what_it_cannot_finish(
    services: Services, database: Database, tmp_path
):
    services.environ["TENANTRY_DRAIN_GRACE_S"] = "1"
    slow = chain("Slow", {"type": "probe", "config": {"sleep_s": 20}})
    workflow = save_workflow(database, ACME, slow)
    with database.org(ACME, user_id=ADMIN) as session:
        added = add_execution(
            session, workflow.id, version=1, input_data={"text": "x"}, trigger=Trigger.API
        )
    services.steward()
    worker = services.worker()
    api = PrefectApi(services.stack.prefect_api_url)
    wait_for("a running flow run", lambda: api.flow_runs_in("RUNNING"))
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    check_prefect_is_left_tidy(services)

    def handed_back() -> bool:
        with database.org(ACME) as session:
            (execution,) = list_executions(session)
        # Broken off by its worker: it has no part in that.
        return execution.run_id is None and execution.attempt == 1

    wait_for("the execution back in the queue", handed_back, timeout_s=15)
    assert added.id


@pytest.mark.timeout(240)
def test_executions_wait_for_a_killed_prefect_and_go_on_by_themselves(
    services: Services, database: Database, twelve, stack
):
    ids, effects = twelve
    services.steward()
    services.worker()
    wait_for("work under way", lambda: some_have_answered(effects, 4))
    server = read_state(Home(stack.settings.home).state_file).services["prefect"]
    os.kill(server.pid, signal.SIGKILL)
    executions = wait_until_final(database, ACME, ids, timeout_s=200)
    check_all_ended_once(database, executions)
    check_prefect_is_left_tidy(services)
    with open(effects) as file:
        assert Counter(Counter(file.readlines()).values()) == {1: 36}
