"""Executions end before their run does: cancelled, or out of time; neighbours go on."""

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.execution_ends import EXECUTED
from domain.executions import Execution, ExecutionStatus
from domain.ids import ExecutionId
from persistence.audit import list_audit
from persistence.execution_cancel import request_cancel
from persistence.executions import get_execution
from persistence.sessions import Database
from persistence.tables import ExecutionRow
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
COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
CANCELLED, RUNNING = ExecutionStatus.CANCELLED, ExecutionStatus.RUNNING


def read(database: Database, id: ExecutionId) -> Execution:
    with database.org(ACME) as session:
        return get_execution(session, id)


def cancel(database: Database, id: ExecutionId) -> None:
    with database.org(ACME, user_id=ADMIN) as session:
        request_cancel(session, id)


def set_deadline(database: Database, id: ExecutionId, at: datetime) -> None:
    with database.org(ACME) as session:
        session.execute(update(ExecutionRow).where(ExecutionRow.id == id).values(deadline=at))


def ends(database: Database, id: ExecutionId) -> list[str]:
    with database.org(ACME) as session:
        entries = [item.entry for item in list_audit(session, resource_id=id)]
    return [str(e.details["status"]) for e in entries if e.action == EXECUTED]


def wait_until_running(database: Database, id: ExecutionId) -> Execution:
    def look() -> Execution | None:
        found = read(database, id)
        return found if found.status is RUNNING else None

    return wait_for(f"{id} running", look, timeout_s=150)


def prefect_state(api: PrefectApi, execution: Execution) -> str:
    return api.flow_run(str(execution.prefect_flow_run_id))["state"]["type"]


def test_of_many_in_one_run_only_the_called_off_ones_end_and_are_asked_for_no_more(
    services: Services, database: Database, tmp_path: Path
):
    effects, gate = tmp_path / "effects", tmp_path / "gate"
    first = {"type": "probe", "config": {"gate": str(gate)}}
    second = {"type": "probe", "config": {"effects": str(effects)}}
    workflow = save_workflow(database, ACME, chain("Many", first, second))
    ids = [queue(database, ACME, workflow).id for _ in range(4)]
    set_deadline(database, ids[1], utc_now() + timedelta(hours=1))
    services.worker()
    services.steward()
    running = wait_until_running(database, ids[0])
    cancel(database, ids[0])
    set_deadline(database, ids[1], utc_now())
    early = wait_until_final(database, ACME, ids[:2], timeout_s=30)
    assert read(database, ids[2]).status is RUNNING
    gate.touch()
    assert [e.status for e in early] == [CANCELLED, FAILED]
    assert early[1].error is not None
    assert early[1].error.code is ErrorCode.EXECUTION_DEADLINE_PASSED
    rest = wait_until_final(database, ACME, ids)
    assert [e.status for e in rest] == [CANCELLED, FAILED, COMPLETED, COMPLETED]
    assert {e.run_id for e in rest} == {running.run_id}
    assert sorted(line.split()[0] for line in effects.read_text().splitlines()) == ids[2:]
    api = PrefectApi(services.stack.prefect_api_url)
    wait_for("the run completed", lambda: prefect_state(api, rest[2]) == "COMPLETED")
    assert [len(ends(database, id)) for id in ids] == [1, 1, 1, 1]
    with database.org(ACME) as session:
        found = get_workflow(session, workflow.id)
    counts = (found.execution_count, found.success_count, found.failure_count)
    assert (*counts, found.cancelled_count) == (4, 2, 1, 1)


def test_both_sides_agree_on_an_execution_alone_in_its_run_and_its_slot_is_free_again(
    services: Services, database: Database
):
    services.environ["TENANTRY_WORKER_LIMIT"] = "1"
    services.environ["TENANTRY_MAX_BATCH"] = "1"
    long = save_workflow(
        database, ACME, chain("Long", {"type": "probe", "config": {"sleep_s": 600}})
    )
    quick = save_workflow(database, ACME, chain("Quick", {"type": "probe", "config": {}}))
    cancelled, late = (queue(database, ACME, long).id for _ in range(2))
    set_deadline(database, late, utc_now() + timedelta(hours=1))
    last = queue(database, ACME, quick).id
    services.steward()
    services.worker()
    api = PrefectApi(services.stack.prefect_api_url)
    wait_until_running(database, cancelled)
    cancel(database, cancelled)
    (one,) = wait_until_final(database, ACME, [cancelled], timeout_s=20)
    wait_until_running(database, late)
    set_deadline(database, late, utc_now())
    (two,) = wait_until_final(database, ACME, [late], timeout_s=20)
    (three,) = wait_until_final(database, ACME, [last], timeout_s=30)
    assert [e.status for e in (one, two, three)] == [CANCELLED, FAILED, COMPLETED]
    assert two.error is not None
    assert two.error.code is ErrorCode.EXECUTION_DEADLINE_PASSED
    for execution in (one, two, three):
        wanted = execution.status.value
        wait_for(f"Prefect says {wanted}", lambda: prefect_state(api, execution) == wanted)  # noqa: B023
        assert len(ends(database, execution.id)) == 1


def test_what_waits_past_its_deadline_fails_without_a_start(services: Services, database: Database):
    workflow = save_workflow(database, ACME, chain("Waits", {"type": "probe", "config": {}}))
    id = queue(database, ACME, workflow).id
    set_deadline(database, id, utc_now() - timedelta(seconds=1))
    services.steward()
    (execution,) = wait_until_final(database, ACME, [id], timeout_s=60)
    assert execution.status is FAILED
    assert execution.started_at is None
    assert execution.error is not None
    assert execution.error.code is ErrorCode.EXECUTION_DEADLINE_PASSED
    assert execution.error.hint
    assert ends(database, id) == ["FAILED"]


def test_an_execution_whose_worker_dies_while_it_is_cancelled_ends_as_cancelled_on_both_sides(
    services: Services, database: Database
):
    long = chain("Long", {"type": "probe", "config": {"sleep_s": 600}})
    workflow = save_workflow(database, ACME, long)
    id = queue(database, ACME, workflow).id
    services.steward()
    worker = services.worker()
    running = wait_until_running(database, id)
    os.kill(worker.pid, signal.SIGSTOP)
    cancel(database, id)
    worker.kill()
    (execution,) = wait_until_final(database, ACME, [id], timeout_s=60)
    assert execution.status is CANCELLED
    api = PrefectApi(services.stack.prefect_api_url)
    wait_for("the same in Prefect", lambda: prefect_state(api, running) == "CANCELLED")


def test_an_execution_that_waits_again_after_its_worker_was_lost_can_be_cancelled_by_the_steward(
    services: Services, database: Database
):
    workflow = save_workflow(database, ACME, chain("Waits", {"type": "probe", "config": {}}))
    id = queue(database, ACME, workflow).id
    with database.org(ACME) as session:
        # As it is left when the request and the loss of the worker meet.
        session.execute(
            update(ExecutionRow)
            .where(ExecutionRow.id == id)
            .values(
                status="RUNNING", started_at=utc_now(), attempt=2, cancel_requested_at=utc_now()
            )
        )
    services.steward()
    (execution,) = wait_until_final(database, ACME, [id], timeout_s=60)
    assert execution.status is CANCELLED
    assert ends(database, id) == ["CANCELLED"]
