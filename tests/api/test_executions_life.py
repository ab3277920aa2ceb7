"""What happens to an execution, as clients read it; and how it is called off."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text

from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.executions import ExecutionError, ExecutionStatus
from domain.ids import new_agent_run_id
from domain.lost_runs import Loss
from domain.outcomes import AgentOutcome, AgentValue, Failure, Usage
from persistence.agent_runs import add_agent_runs
from persistence.execution_moves import requeue_executions
from persistence.queue import claim_run
from persistence.runs import set_flow_run
from tests.api.conftest import Api
from tests.api.test_executions import PROBE, actions, finish, queue, start
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, save_workflow, simple_workflow


@pytest.fixture
def workflow(database):
    return simple_workflow(database, ACME)


def test_the_whole_record_has_results_in_the_order_of_the_graph(database, admin):
    workflow = save_workflow(database, ACME, chain("Long", PROBE, PROBE))
    id = queue(admin, workflow)
    run = start(database)
    flow_run = uuid4()
    with database.for_platform() as session:
        set_flow_run(session, run, flow_run)
    finish(
        database,
        id,
        output={"text": "done"},
        agent_results={"A": {"status": "COMPLETED"}, "Z": {"status": "COMPLETED"}},
        execution_graph={
            "nodes": [{"name": "Z", "type": "probe"}, {"name": "A", "type": "probe"}],
            "edges": [{"from": "Z", "to": "A"}],
        },
        tokens_used=12,
        cost=Decimal("0.00420000"),
    )
    found = admin.get(f"/executions/{id}").json()
    assert [result["name"] for result in found["agent_results"]] == ["Z", "A"]
    assert (found["tokens_used"], found["cost"], found["attempt"]) == (12, "0.0042", 1)
    assert found["prefect_url"] == f"http://127.0.0.1:4200/runs/flow-run/{flow_run}"
    assert actions(database, id)[-1] == "execution.output_read"


def test_every_attempt_is_listed_and_stands_in_the_timeline(database, admin, workflow):
    id = queue(admin, workflow)
    run = start(database)
    failure = Failure(ErrorCode.AGENT_TIMED_OUT, "Too slow.", "Wait.", retryable=True)
    spent = Usage(5, Decimal("0.01"))
    outcomes = [
        AgentOutcome(failure=failure, usage=spent, duration_s=0.5),
        AgentOutcome(value=AgentValue({"text": "a secret"}), usage=spent, duration_s=0.5),
    ]
    for outcome in outcomes:
        now = utc_now()
        attempt = AgentRun(
            id=new_agent_run_id(),
            execution_id=id,
            run_id=run.id,
            agent_name="Step 1",
            attempt=1,
            outcome=outcome,
            started_at=now,
            completed_at=now,
        )
        with database.org(ACME) as session:
            add_agent_runs(session, run, "Step 1", [attempt])
    with database.org(ACME) as session:
        requeue_executions(session, [id], run_id=run.id, at=utc_now(), loss=Loss(1, was_asked=True))
    start(database)
    finish(database, id, output={})
    answer = admin.get(f"/executions/{id}/agents")
    attempts = answer.json()["items"]
    assert [(item["attempt"], item["status"]) for item in attempts] == [
        (1, "FAILED"),
        (2, "COMPLETED"),
    ]
    assert attempts[0]["error"]["code"] == "agent.timed_out"
    assert attempts[0]["is_retryable"]
    assert attempts[1]["tokens_used"] == 5
    assert "secret" not in answer.text
    events = admin.get(f"/executions/{id}/timeline").json()["items"]
    assert [event["event"] for event in events] == [
        "execution.created",
        "execution.started",
        "agent.started",
        "agent.failed",
        "agent.started",
        "agent.completed",
        "execution.requeued",
        "execution.completed",
    ]
    assert events == sorted(events, key=lambda event: event["at"])


def test_one_that_waits_is_cancelled_at_once(database, admin, workflow):
    id = queue(admin, workflow)
    answer = admin.post(f"/executions/{id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "CANCELLED")
    assert answer.json()["error"]["code"] == "execution.cancelled"
    assert actions(database, id) == [
        "execution.created",
        "execution.cancel_requested",
        "workflow.executed",
    ]
    with database.for_platform() as session:
        assert claim_run(session, worker="w", lease_s=60) is None
    assert admin.get(f"/executions/{id}/timeline").json()["items"][1]["user_id"] == ADMIN
    again = admin.post(f"/executions/{id}/cancel")
    assert (again.status_code, again.json()) == (200, answer.json())
    assert actions(database, id).count("workflow.executed") == 1


def test_one_that_has_completed_cannot_be_cancelled(database, admin, workflow):
    id = queue(admin, workflow)
    start(database)
    finish(database, id, output={})
    answer = admin.post(f"/executions/{id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "execution.transition_refused")


def test_one_that_runs_is_asked_to_end_once(database, admin, workflow):
    id = queue(admin, workflow)
    start(database)
    first = admin.post(f"/executions/{id}/cancel").json()
    assert first["status"] == "RUNNING"
    assert first["cancel_requested_at"]
    assert admin.post(f"/executions/{id}/cancel").json() == first
    assert actions(database, id).count("execution.cancel_requested") == 1


def test_one_that_came_back_to_the_queue_keeps_what_it_cost(database, admin, workflow):
    id = queue(admin, workflow)
    run = start(database)
    now = utc_now()
    outcome = AgentOutcome(value=AgentValue({}), usage=Usage(7, Decimal("0.5")))
    with database.org(ACME) as session:
        done = AgentRun(
            id=new_agent_run_id(),
            execution_id=id,
            run_id=run.id,
            agent_name="Step 1",
            attempt=1,
            outcome=outcome,
            started_at=now,
            completed_at=now,
        )
        add_agent_runs(session, run, "Step 1", [done])
        requeue_executions(session, [id], run_id=run.id, at=now, loss=Loss(1, was_asked=True))
    found = admin.post(f"/executions/{id}/cancel").json()
    assert (found["status"], found["tokens_used"], found["cost"]) == ("CANCELLED", 7, "0.5")


def test_a_cancel_that_races_a_claim_ends_in_one_of_two_ways(api: Api, database, admin, workflow):
    ids = [queue(admin, workflow) for _ in range(20)]

    def cancel(id: str) -> str:
        with api.client() as client:
            return client.post(f"/executions/{id}/cancel").json()["status"]

    def claim(_: int) -> None:
        with database.for_platform() as session:
            claim_run(session, worker="w", lease_s=60)

    with ThreadPoolExecutor(8) as pool:
        claims = [pool.submit(claim, number) for number in range(20)]
        statuses = dict(zip(ids, pool.map(cancel, ids), strict=True))
        for done in claims:
            done.result()
    with database.org(ACME) as session:
        rows = session.execute(text("select id, status, run_id from executions")).all()
    assert {row.id: row.status for row in rows} == statuses
    assert all((row.status == "CANCELLED") == (row.run_id is None) for row in rows)


def test_errors_of_a_failed_execution_are_shown_together(database, admin, workflow):
    id = queue(admin, workflow)
    start(database)
    error = ExecutionError(ErrorCode.AGENT_FAILED, "It did not work.", "Try again.")
    finish(database, id, status=ExecutionStatus.FAILED, error=error)
    shown = {"code": "agent.failed", "message": "It did not work.", "hint": "Try again."}
    assert admin.get(f"/executions/{id}").json()["error"] == shown
    assert admin.get("/executions").json()["items"][0]["error"] == shown
