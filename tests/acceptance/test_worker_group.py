"""Several workers under one parent: none is lost, none is left."""

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from deployments.embedded.processes import find_start
from domain.executions import ExecutionStatus
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import chain, queue, save_workflow
from tests.support.services import Services, wait_for, wait_until_final

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.prefect,
    pytest.mark.timeout(240),
]


def children_of(pid: int) -> set[int]:
    """List the live processes that a process has started."""
    lines = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in lines if find_start(int(child))}


def pids_at_work(database: Database) -> set[int]:
    """List the processes whose worker has said that it lives."""
    with database.for_platform() as session:
        names = session.scalars(text("select name from workers where expires_at > now()")).all()
    return {int(name.split()[-1]) for name in names}


def wait_for_workers(database: Database, parent: int, count: int) -> set[int]:
    def look() -> set[int] | None:
        found = pids_at_work(database) & children_of(parent)
        return found if len(found) == count else None

    return wait_for(f"{count} workers at work", look, timeout_s=120)


def test_several_workers_share_the_work_and_drain_together(services: Services, database: Database):
    services.environ |= {"TENANTRY_WORKER_PROCESSES": "3", "TENANTRY_WORKER_LIMIT": "3"}
    services.environ["TENANTRY_MAX_BATCH"] = "1"
    step = {"type": "probe", "config": {"sleep_s": 3}}
    workflow = save_workflow(database, ACME, chain("Shared", step))
    services.steward()
    parent = services.worker()
    pids = wait_for_workers(database, parent.pid, 3)
    ids = [queue(database, ACME, workflow).id for _ in range(5)]

    def carrying() -> set[str] | None:
        with database.for_platform() as session:
            workers = session.scalars(text("select worker from runs")).all()
        return set(workers) if len(workers) == len(ids) and len(set(workers)) == 3 else None

    names = wait_for("all three at work", carrying)
    assert {int(name.split()[-1]) for name in names} == pids
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=60) == 0
    assert [pid for pid in pids if find_start(pid)] == []
    # What was under way was finished, not handed back.
    executions = wait_until_final(database, ACME, ids, timeout_s=20)
    assert {(e.status, e.attempt) for e in executions} == {(ExecutionStatus.COMPLETED, 1)}
    assert pids_at_work(database) == set()


def test_a_worker_that_is_killed_is_started_again_and_its_runs_do_not_wait_for_their_leases(
    services: Services, database: Database, tmp_path: Path
):
    services.environ |= {"TENANTRY_WORKER_PROCESSES": "2", "TENANTRY_LEASE_S": "10"}
    gate = tmp_path / "gate"
    workflow = save_workflow(
        database, ACME, chain("Again", {"type": "probe", "config": {"gate": str(gate)}})
    )
    services.steward()
    parent = services.worker()
    before = wait_for_workers(database, parent.pid, 2)
    id = queue(database, ACME, workflow).id

    def carrier() -> int | None:
        with database.for_platform() as session:
            name = session.scalar(
                text("select worker from runs where closed_at is null and started_at is not null")
            )
        return int(name.split()[-1]) if name else None

    killed = wait_for("it running", carrier)
    os.kill(killed, signal.SIGSTOP)  # so that it renews nothing any more
    with database.for_platform() as session:
        session.execute(text("update runs set lease_expires_at = now() + interval '1 hour'"))
    os.kill(killed, signal.SIGKILL)
    gate.touch()
    (execution,) = wait_until_final(database, ACME, [id], timeout_s=60)
    assert (execution.status, execution.attempt) == (ExecutionStatus.COMPLETED, 2)
    after = wait_for_workers(database, parent.pid, 2)
    assert len(after - before) == 1
    assert killed not in after


def test_a_killed_parent_leaves_no_worker_behind(services: Services, database: Database):
    parent = services.service("worker", "--processes", "2")
    pids = wait_for_workers(database, parent.pid, 2)
    parent.kill()
    parent.wait()
    wait_for("the end of all", lambda: not [pid for pid in pids if find_start(pid)])


def test_workers_that_cannot_be_started_end_their_parent_with_a_code(services: Services):
    services.environ["TENANTRY_WORKER_PROCESSES"] = "2"
    parent = services.worker("--broken")
    assert parent.wait(timeout=150) != 0
    assert "worker.start_failed" in services.log()
    assert "an agent that cannot be made" in services.log()
