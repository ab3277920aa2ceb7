"""The mirror equals Prefect: with hooks, without them, and from the history alone."""

from collections import Counter
from uuid import UUID

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from domain.catalog import Workflow
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.ids import ExecutionId
from domain.runs import Run, RunState, StateType
from flows.mirror import apply
from persistence.audit import list_audit, verify_audit
from persistence.executions import add_execution
from persistence.runs import find_run
from persistence.sessions import Database
from persistence.workflows import get_workflow
from tests.support.databases import ACME, ADMIN, Cluster, open_roles
from tests.support.factories import chain, save_workflow
from tests.support.prefect_api import PrefectApi, parse_time
from tests.support.services import Services, wait_for, wait_until_final
from tests.support.snapshots import snapshot

MODES = ("ok", "ok", "fail", "flaky", "slow", "slow_once", "boom", "ok", "flaky", "fail")
EXPECTED = {
    "ok": ExecutionStatus.COMPLETED,
    "flaky": ExecutionStatus.COMPLETED,
    "slow_once": ExecutionStatus.COMPLETED,
    "fail": ExecutionStatus.FAILED,
    "slow": ExecutionStatus.FAILED,
    "boom": ExecutionStatus.FAILED,
}


def mixed_workflow(database: Database, effects: str) -> Workflow:
    obeying = {"effects": effects, "obey": True}
    definition = chain(
        "Mixed",
        {"type": "probe", "config": {"effects": effects}},
        {
            "type": "probe",
            "config": obeying,
            "options": {"retries": 1, "retry_delay_s": 0.05, "timeout_s": 2.5},
        },
        {"type": "probe", "config": {"effects": effects}},
    )
    return save_workflow(database, ACME, definition)


def queue_sixty(database: Database, workflow: Workflow) -> list[ExecutionId]:
    ids: list[ExecutionId] = []
    for number in range(60):
        with database.org(ACME, user_id=ADMIN) as session:
            added = add_execution(
                session,
                workflow.id,
                version=workflow.version,
                input_data={"mode": MODES[number % len(MODES)], "number": number},
                trigger=Trigger.API,
            )
        ids.append(added.id)
    return ids


def check_against_prefect(
    executions: list[Execution], api: PrefectApi, *, is_coalesced: bool
) -> None:
    carried = Counter(execution.run_id for execution in executions)
    assert (max(carried.values()) > 1) == is_coalesced
    for execution in executions:
        assert execution.status is EXPECTED[str(execution.input_data["mode"])], execution
        flow_run = api.flow_run(str(execution.prefect_flow_run_id))
        states = api.states(str(execution.prefect_flow_run_id))
        if carried[execution.run_id] == 1:
            assert flow_run["name"] == execution.id
            assert flow_run["state"]["type"] == execution.status.value
        else:
            assert flow_run["name"] == f"{execution.run_id} ({carried[execution.run_id]})"
            assert flow_run["state"]["name"] == "PartiallyFailed"
        assert execution.prefect_state_id == flow_run["state"]["id"]
        running = next(state for state in states if state["type"] == "RUNNING")
        assert execution.started_at == parse_time(running["timestamp"])
        assert execution.completed_at == parse_time(states[-1]["timestamp"])
        assert execution.created_at <= execution.started_at <= execution.completed_at


def check_books(database: Database, workflow: Workflow, executions: list[Execution]) -> None:
    counted = Counter(execution.status for execution in executions)
    with database.org(ACME, snapshot=True) as session:
        found = get_workflow(session, workflow.id)
        entries = list_audit(session, limit=10_000)
        assert verify_audit(session).ok
    assert found.execution_count == len(executions) == 60
    assert found.success_count == counted[ExecutionStatus.COMPLETED]
    assert found.failure_count == counted[ExecutionStatus.FAILED]
    ends = [item.entry for item in entries if item.entry.action == "workflow.executed"]
    assert Counter(e.execution_id for e in ends) == Counter(e.id for e in executions)
    by_id = {execution.id: execution for execution in executions}
    for end in ends:
        execution = by_id[ExecutionId(str(end.execution_id))]
        assert end.success == (execution.status is ExecutionStatus.COMPLETED)
        assert end.timestamp == execution.completed_at
        assert end.details["status"] == execution.status.value


def check_effects(path: str, executions: list[Execution]) -> None:
    """Every agent that answered was asked once, but for the attempts that failed on purpose."""
    with open(path) as file:
        calls = Counter(tuple(line.strip().split(" ", 1)) for line in file)
    for execution in executions:
        mode = str(execution.input_data["mode"])
        twice = mode in ("flaky", "slow", "slow_once", "boom")
        assert calls[(execution.id, "Step 1")] == 1
        assert calls[(execution.id, "Step 2")] == (2 if twice else 1), mode
        done = execution.status is ExecutionStatus.COMPLETED
        assert calls[(execution.id, "Step 3")] == (1 if done else 0)


def histories(
    database: Database, api: PrefectApi, executions: list[Execution]
) -> list[tuple[Run, list[RunState]]]:
    found: list[tuple[Run, list[RunState]]] = []
    for execution in executions:
        with database.for_platform() as session:
            run = find_run(session, UUID(execution.prefect_flow_run_id))
        assert run is not None
        states = [
            RunState(UUID(s["id"]), StateType(s["type"]), s["name"], parse_time(s["timestamp"]))
            for s in api.states(str(execution.prefect_flow_run_id))
        ]
        found.append((run, states))
    return found


def forget_what_the_mirror_wrote(superuser: URL) -> None:
    """Put a copy of the database back to before any state was mirrored."""
    statements = (
        "set local session_replication_role = replica",
        "delete from run_states",
        "delete from audit_logs where action = 'workflow.executed'"
        " or action like 'execution.%' and action <> 'execution.created'",
        "update audit_heads h set (seq, hash) = (select seq, hash from audit_logs a"
        " where a.org_id = h.org_id order by seq desc limit 1)",
        "update runs set prefect_state_id = null, prefect_state_type = null,"
        " prefect_state_name = null, prefect_state_at = null, started_at = null, closed_at = null",
        "update workflows set execution_count = 0, success_count = 0, failure_count = 0",
        "update executions set status = 'PENDING', output = null, error = null,"
        " error_code = null, error_hint = null, agent_results = null, execution_graph = null,"
        " tokens_used = 0, cost = 0, started_at = null, completed_at = null,"
        " duration_seconds = null, prefect_state_id = null, prefect_state_at = null",
    )
    engine = create_engine(superuser, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("hooks", "max_batch"),
    [
        pytest.param(True, 1, id="with hooks", marks=pytest.mark.slow),
        pytest.param(False, 1, id="without hooks", marks=pytest.mark.slow),
        pytest.param(True, 60, id="coalesced"),
    ],
)
def test_sixty_mixed_executions_equal_what_prefect_says(
    services: Services, database: Database, cluster: Cluster, tmp_path, subtests, hooks, max_batch
):
    effects = str(tmp_path / "effects")
    workflow = mixed_workflow(database, effects)
    ids = queue_sixty(database, workflow)
    services.environ["TENANTRY_MAX_BATCH"] = str(max_batch)
    services.steward()
    services.worker(*([] if hooks else ["--no-hooks"]))
    executions = wait_until_final(database, ACME, ids, timeout_s=240)
    api = PrefectApi(services.stack.prefect_api_url)
    with subtests.test("every row equals Prefect's run"):
        check_against_prefect(executions, api, is_coalesced=max_batch > 1)
    with subtests.test("counters and audit"):
        check_books(database, workflow, executions)
    with subtests.test("no agent was asked again that had answered"):
        check_effects(effects, executions)
    services.stop()
    superuser = cluster.as_superuser(services.database_url)
    told = histories(database, api, executions)
    with subtests.test("applying every history again changes nothing"):
        before = snapshot(superuser)
        for _ in range(2):
            assert [apply(database, run, states) for run, states in told] == [0] * 60
        assert snapshot(superuser) == before
    with subtests.test("history alone gives the same rows"):
        database.close()
        copy = cluster.copy(str(services.database_url.database))
        try:
            forget_what_the_mirror_wrote(cluster.as_superuser(copy))
            with open_roles(copy) as other:
                for run, states in told:
                    apply(other, run, states)
            assert snapshot(cluster.as_superuser(copy)) == before
        finally:
            cluster.drop(copy)


@pytest.mark.timeout(120)
def test_a_run_cancelled_in_prefect_ends_as_cancelled(
    services: Services, database: Database, tmp_path
):
    definition = chain("Long", {"type": "probe", "config": {"sleep_s": 60}})
    workflow = save_workflow(database, ACME, definition)
    with database.org(ACME, user_id=ADMIN) as session:
        added = add_execution(
            session, workflow.id, version=1, input_data={"text": "x"}, trigger=Trigger.API
        )
    services.steward()
    services.worker()
    api = PrefectApi(services.stack.prefect_api_url)
    running = wait_for("a running flow run", lambda: api.flow_runs_in("RUNNING"))
    (flow_run,) = [run for run in running if run["name"] == added.id]
    api.set_state(flow_run["id"], "CANCELLING")
    (execution,) = wait_until_final(database, ACME, [added.id])
    assert execution.status is ExecutionStatus.CANCELLED
    # Prefect's engine has said Crashed there, which the worker puts right after it.
    wait_for(
        "the flow run to be cancelled in Prefect",
        lambda: api.flow_run(flow_run["id"])["state"]["type"] == "CANCELLED",
    )
    with database.org(ACME) as session:
        found = get_workflow(session, workflow.id)
    assert (found.execution_count, found.cancelled_count) == (1, 1)
