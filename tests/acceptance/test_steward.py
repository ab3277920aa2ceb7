"""The steward puts right what differs, and comes back by itself; real processes, real Prefect."""

import json
import os
import signal
import subprocess
from typing import Any

import httpx
import pytest
from sqlalchemy import URL, create_engine, select, text
from sqlalchemy.pool import NullPool

from deployments.drift_report import check_drift
from deployments.embedded.layout import Home
from deployments.embedded.state import read_state
from domain.executions import ExecutionStatus
from persistence.drift_log import list_repairs
from persistence.driver_errors import DatabaseUnreachable
from persistence.executions import get_execution
from persistence.queue import claim_run
from persistence.runs import find_run_by_id
from persistence.schedules import add_schedule
from persistence.sessions import Database
from persistence.steward_status import StewardStatus, read_status
from persistence.tables import AgentRunRow, RunStateRow
from persistence.workflows import get_workflow
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, queue, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.prefect,
    pytest.mark.timeout(240),
]
PROBE = {"type": "probe", "config": {}}


def status_of(database: Database) -> StewardStatus:
    with database.for_platform() as session:
        return read_status(session)


def find_status(database: Database) -> StewardStatus | None:
    """Read the steward's row, unless the database is away."""
    try:
        return status_of(database)
    except DatabaseUnreachable:
        return None


def wait_for_rounds(database: Database) -> StewardStatus:
    """Wait until a steward has made a round from now on."""
    before = wait_for("its row", lambda: find_status(database)).round_at

    def look() -> StewardStatus | None:
        found = find_status(database)
        return found if found and found.round_at and found.round_at != before else None

    return wait_for("a round", look, timeout_s=100)


def kinds_logged(database: Database) -> set[str]:
    with database.for_platform() as session:
        return {each.repair.drift.kind.value for each in list_repairs(session, limit=1000)}


def tamper(superuser: URL, statement: str) -> None:
    with create_engine(superuser, poolclass=NullPool).begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text(statement))


def written_by_run(database: Database, run_id: str) -> tuple[int, int]:
    with database.org(ACME) as session:
        answers = session.scalars(select(AgentRunRow.id).where(AgentRunRow.run_id == run_id)).all()
        states = session.scalars(
            select(RunStateRow.state_id).where(RunStateRow.run_id == run_id)
        ).all()
    return len(answers), len(states)


def test_a_worker_that_was_frozen_past_its_lease_writes_nothing_and_prefect_keeps_the_crash(
    services: Services, database: Database
):
    workflow = save_workflow(
        database, ACME, chain("Frozen", {"type": "probe", "config": {"sleep_s": 3}}, PROBE)
    )
    id = queue(database, ACME, workflow).id
    services.environ["TENANTRY_LEASE_S"] = "3"
    services.steward()
    frozen = services.worker()
    api = PrefectApi(services.stack.prefect_api_url)
    running = wait_for("a running flow run", lambda: api.flow_runs_in("RUNNING"))
    (flow_run,) = [run for run in running if run["name"] == id]
    with database.org(ACME) as session:
        first_run = get_execution(session, id).run_id
    assert first_run is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    wait_for("the fence", lambda: api.flow_run(flow_run["id"])["state"]["type"] == "CRASHED")

    def waits_again() -> bool:
        with database.org(ACME) as session:
            return get_execution(session, id).run_id is None

    wait_for("the execution back in the queue", waits_again)
    before = written_by_run(database, first_run)
    # It claims anew when it wakes, which it may: that run has a lease of its own.
    os.kill(frozen.pid, signal.SIGCONT)
    (execution,) = wait_until_final(database, ACME, [id])
    assert execution.status is ExecutionStatus.COMPLETED
    assert execution.attempt == 2
    assert execution.run_id != first_run
    assert written_by_run(database, first_run) == before
    wait_for("rest", lambda: not api.flow_runs_in("RUNNING", "PENDING"))
    assert [s["type"] for s in api.states(flow_run["id"])].count("COMPLETED") == 0
    assert api.flow_run(flow_run["id"])["state"]["type"] == "CRASHED"
    assert "worker_lost" in kinds_logged(database)


def test_drift_is_shown_by_the_command_and_put_right_by_it(
    services: Services, database: Database, cluster, subtests
):
    # Of two workflows, so that they are in two runs.
    workflow, other = (save_workflow(database, ACME, chain(n, PROBE)) for n in ("One", "Other"))
    first, second = (queue(database, ACME, each).id for each in (workflow, other))
    steward, worker = services.steward(), services.worker()
    executions = wait_until_final(database, ACME, [first, second])
    wait_for_rounds(database)
    for process in (steward, worker):
        process.terminate()
        process.wait(timeout=60)
    with subtests.test("none after an ordinary run"):
        assert drift_of(services, database) == []
    api = PrefectApi(services.stack.prefect_api_url)
    superuser = cluster.as_superuser(services.database_url)
    flow_runs = [str(e.prefect_flow_run_id) for e in executions]
    force(services, flow_runs[0], "RUNNING")
    force(services, flow_runs[1], "FAILED")
    tamper(
        superuser,
        "update workflows set execution_count = 5, success_count = 5 where name = 'One'",
    )
    tamper(superuser, "update runs set closed_at = closed_at - interval '1 minute'")
    # What is younger than some seconds may be on its way, and is not shown.
    wait_for("all three differences", lambda: len(drift_of(services, database)) == 3)
    with subtests.test("shown, and nothing changed"):
        found = services.command("drift", "--json")
        assert found.returncode == 1
        kinds = sorted(each["kind"] for each in json.loads(found.stdout)["drift"])
        assert kinds == ["closed_here_open_there", "counters_off", "terminal_mismatch"]
        assert api.flow_run(flow_runs[0])["state"]["type"] == "RUNNING"
    with subtests.test("put right, and logged"):
        repaired = services.command("drift", "--repair")
        assert repaired.returncode == 0, repaired.stdout
        assert "No drift" in repaired.stdout
        assert set(kinds) <= kinds_logged(database)
        assert {api.flow_run(id)["state"]["type"] for id in flow_runs} == {"COMPLETED"}
        with database.org(ACME) as session:
            assert get_workflow(session, workflow.id).execution_count == 1
    with subtests.test("Prefect away is said with a code"):
        services.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
        away = services.command("drift", "--json")
        assert away.returncode == 2
        assert json.loads(away.stdout)["error"]["code"] == "prefect.unreachable"


def drift_of(services: Services, database: Database) -> list[str]:
    url = services.stack.prefect_api_url
    report = check_drift(database, url, repair=False, max_attempts=3, last=0)
    return sorted(drift.kind.value for drift in report.left)


def force(services: Services, flow_run_id: str, type: str) -> None:
    """Set a state as a platform engineer may, past all rules."""
    httpx.post(
        f"{services.stack.prefect_api_url}/flow_runs/{flow_run_id}/set_state",
        json={"state": {"type": type, "name": type.title()}, "force": True},
        timeout=30,
    ).raise_for_status()


def test_the_steward_puts_runs_tables_and_prefect_right_by_itself(
    services: Services, database: Database, cluster
):
    workflow = save_workflow(database, ACME, chain("Repaired", PROBE))
    execution = queue(database, ACME, workflow)
    services.steward()
    worker = services.worker()
    (done,) = wait_until_final(database, ACME, [execution.id])
    worker.terminate()
    worker.wait(timeout=60)
    api = PrefectApi(services.stack.prefect_api_url)
    flow_run = str(done.prefect_flow_run_id)
    force(services, flow_run, "CRASHED")
    superuser = cluster.as_superuser(services.database_url)
    tamper(superuser, "update workflows set execution_count = 7, failure_count = 6")
    wait_for(
        "Prefect put right",
        lambda: api.flow_run(flow_run)["state"]["type"] == "COMPLETED",
        timeout_s=90,
    )

    def counted() -> bool:
        with database.org(ACME) as session:
            found = get_workflow(session, workflow.id)
        return (found.execution_count, found.failure_count) == (1, 0)

    wait_for("the counters put right", counted, timeout_s=90)
    assert {"terminal_mismatch", "counters_off"} <= kinds_logged(database)
    wait_for("its row", lambda: status_of(database).repaired.get("counters_off"))


def test_a_claimed_run_that_never_started_goes_back_to_the_queue(
    services: Services, database: Database
):
    workflow = save_workflow(database, ACME, chain("Claimed", PROBE))
    id = queue(database, ACME, workflow).id
    with database.for_platform() as session:
        claimed = claim_run(session, worker="killed after its claim", lease_s=1)
    assert claimed is not None
    services.steward()

    def waits_again() -> bool:
        with database.org(ACME) as session:
            found = get_execution(session, id)
        # No agent was asked.
        return found.run_id is None and found.attempt == 1

    wait_for("the execution back in the queue", waits_again)
    with database.for_platform() as session:
        run = find_run_by_id(session, claimed.run.id)
    assert run is not None
    assert run.closed_as is not None


def test_a_run_that_was_handed_over_and_lost_is_handed_out_again(
    services: Services, database: Database
):
    services.environ["TENANTRY_PENDING_LIMIT_S"] = "5"
    workflow = save_workflow(
        database, ACME, chain("Handed over", PROBE).model_copy(update={"default_input": "x"})
    )
    services.steward()
    api = PrefectApi(services.stack.prefect_api_url)
    deployment = wait_for("a deployment", lambda: find_deployment(services, "acme.handed-over"))
    flow_run = api.run_deployment(deployment["id"])
    # As it is left by a worker that dies between Prefect's handing it over and its own row.
    force(services, flow_run["id"], "PENDING")
    wait_for("it handed out again", lambda: state_of(api, flow_run) == "SCHEDULED")
    services.worker()
    wait_for("it completed", lambda: state_of(api, flow_run) in ("COMPLETED", "FAILED"))

    def counted() -> int:
        with database.org(ACME) as session:
            return get_workflow(session, workflow.id).execution_count

    # Its end is written here a moment after Prefect has it.
    wait_for("it counted", lambda: counted() > 0, timeout_s=10)
    assert counted() == 1


def state_of(api: PrefectApi, flow_run: dict[str, Any]) -> str:
    return api.flow_run(flow_run["id"])["state"]["type"]


def find_deployment(services: Services, flow_name: str) -> dict[str, Any] | None:
    url = f"{services.stack.prefect_api_url}/deployments/name/{flow_name}/live"
    answer = httpx.get(url, timeout=30)
    return None if answer.status_code == 404 else answer.raise_for_status().json()


def test_what_somebody_does_to_a_deployment_in_prefect_is_undone(
    services: Services, database: Database, subtests
):
    workflow = save_workflow(database, ACME, chain("Kept", PROBE))
    with database.org(ACME, user_id=ADMIN) as session:
        schedule = add_schedule(
            session, workflow.id, cron="0 4 * * *", timezone="Europe/Berlin", input_data={}
        )
    services.steward()

    def as_published() -> dict[str, Any] | None:
        found = find_deployment(services, "acme.kept")
        if found is None or found["paused"] or found["parameters"]:
            return None
        if found["global_concurrency_limit"] or found["version"] != "1":
            return None
        schedules = found["schedules"]
        firing = [(s["slug"], s["schedule"]["cron"], s["parameters"]) for s in schedules]
        return found if firing == [(schedule.id, "0 4 * * *", {})] else None

    deployment = wait_for("it published", as_published)
    with httpx.Client(base_url=services.stack.prefect_api_url, timeout=30) as client:

        def do(method: str, path: str, body: dict[str, Any] | None = None) -> None:
            place = f"deployments/{deployment['id']}{path}"
            client.request(method, place, json=body).raise_for_status()

        edits = {"version": "mine", "parameters": {"run": "x"}, "concurrency_limit": 1}
        slot = f"/schedules/{deployment['schedules'][0]['id']}"
        acts = {
            "edited": lambda: do("PATCH", "", edits),
            "schedule edited": lambda: do("PATCH", slot, {"parameters": {"run": "x"}}),
            "deleted": lambda: do("DELETE", ""),
        }
        for name, act in acts.items():
            with subtests.test(name):
                act()
                assert as_published() is None
                deployment = wait_for(f"what was {name} put right", as_published, timeout_s=60)
                slot = f"/schedules/{deployment['schedules'][0]['id']}"
    # Put right first, and logged at the end of the round.
    kinds = {"deployment_differs", "deployment_missing"}
    wait_for("both in the log", lambda: kinds <= kinds_logged(database))


def test_the_steward_goes_on_by_itself_after_prefect_and_postgres_were_away(
    services: Services, database: Database, stack
):
    workflow = save_workflow(database, ACME, chain("Before", PROBE))
    services.steward()
    wait_for_rounds(database)
    pids = read_state(Home(stack.settings.home).state_file).services
    for name in ("prefect", "postgres"):
        os.kill(pids[name].pid, signal.SIGKILL)
    wait_for_rounds(database)

    def all_steps_taken() -> bool:
        found = find_status(database)
        return found is not None and found.epoch >= 2 and not found.troubles

    wait_for("a round with all its steps", all_steps_taken, timeout_s=100)
    execution = queue(database, ACME, workflow)
    with database.for_platform() as session:
        assert claim_run(session, worker="dead", lease_s=0) is not None

    def back() -> bool:
        with database.org(ACME) as session:
            return get_execution(session, execution.id).run_id is None

    wait_for("a lost execution back in the queue", back)


def test_of_two_stewards_the_standby_leads_when_the_leader_is_frozen_and_goes_on_to(
    services: Services, database: Database
):
    stewards: dict[str, subprocess.Popen[bytes]] = {}
    for _ in range(2):
        process = services.steward()
        stewards[str(process.pid)] = process

    def leader() -> str | None:
        name = status_of(database).leader
        return name.split()[-1] if name else None

    first = wait_for("a leader", leader)
    os.kill(stewards[first].pid, signal.SIGSTOP)
    try:
        second = wait_for("another leader", lambda: leader() if leader() != first else None)
    finally:
        os.kill(stewards[first].pid, signal.SIGCONT)
    for _ in range(3):
        wait_for_rounds(database)
    assert leader() == second
    assert status_of(database).epoch == 2


def test_what_no_hook_reported_is_mirrored_from_prefects_history_and_logged(
    services: Services, database: Database
):
    execution = queue(database, ACME, save_workflow(database, ACME, chain("Unheard", PROBE)))
    services.steward()
    services.worker("--no-hooks")
    (done,) = wait_until_final(database, ACME, [execution.id])
    assert done.status is ExecutionStatus.COMPLETED
    # Which of the two, depends on whether a round has met it between its states.
    unheard = {"open_here_closed_there", "state_behind"}
    wait_for("the log", lambda: unheard & kinds_logged(database))
