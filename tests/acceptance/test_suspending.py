"""Runs that somebody suspends in Prefect wait for as long as it takes, and for whoever is there."""

from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.executions import ExecutionStatus
from domain.ids import ExecutionId
from persistence.execution_cancel import request_cancel
from persistence.executions import get_execution
from persistence.sessions import Database
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
COMPLETED, CANCELLED = ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED
LEASE_S = 3


class Suspended:
    """Two executions of one run, suspended after their first agent; their worker has left them."""

    def __init__(self, services: Services, database: Database, folder: Path) -> None:
        self.services, self.database = services, database
        self.effects = folder / "effects"
        services.environ["TENANTRY_LEASE_S"] = str(LEASE_S)
        slow = {"type": "probe", "config": {"sleep_s": 6, "effects": str(self.effects)}}
        workflow = save_workflow(database, ACME, chain("Long", slow, slow))
        self.ids: list[ExecutionId] = [queue(database, ACME, workflow).id for _ in range(2)]
        services.steward()
        self.worker = services.worker()
        self.api = PrefectApi(services.stack.prefect_api_url)
        wait_for("both running", lambda: self.statuses() == ["RUNNING"] * 2, timeout_s=100)
        with database.org(ACME) as session:
            self.flow_run = str(get_execution(session, self.ids[0]).prefect_flow_run_id)
        self.api.suspend(self.flow_run)
        wait_for("both paused", lambda: self.statuses() == ["PAUSED"] * 2)
        ended = "select lease_expires_at < clock_timestamp() from runs"
        wait_for("the worker gone from it", lambda: self.scalar(ended))
        self.worker.kill()
        self.worker.wait()
        wait_for(
            "several leases later",
            lambda: self.scalar(
                f"{ended.split('<')[0]}"
                f" < clock_timestamp() - interval '{3 * LEASE_S} seconds' from runs"
            ),
        )

    def statuses(self) -> list[str]:
        with self.database.org(ACME) as session:
            return [get_execution(session, id).status.value for id in self.ids]

    def scalar(self, statement: str) -> object:
        with self.database.org(ACME) as session:
            return session.scalar(text(statement))

    def state(self) -> str:
        return self.api.flow_run(self.flow_run)["state"]["type"]

    def cancel(self, id: ExecutionId) -> None:
        with self.database.org(ACME, user_id=ADMIN) as session:
            request_cancel(session, id)

    def resume(self) -> None:
        self.api.resume(self.flow_run)


@pytest.fixture
def suspended(services: Services, database: Database, tmp_path: Path) -> Suspended:
    return Suspended(services, database, tmp_path)


def test_a_suspended_run_is_not_lost_and_another_worker_goes_on_when_it_is_resumed(
    suspended: Suspended, services: Services, database: Database
):
    assert suspended.state() == "PAUSED"
    assert suspended.statuses() == ["PAUSED"] * 2
    heir = services.worker()
    suspended.resume()
    executions = wait_until_final(database, ACME, suspended.ids)
    assert {(e.status, e.attempt) for e in executions} == {(COMPLETED, 1)}
    assert len({e.run_id for e in executions}) == 1
    marks = Counter(suspended.effects.read_text().splitlines())
    assert sorted(marks) == sorted(f"{id} Step {n}" for id in suspended.ids for n in (1, 2))
    assert set(marks.values()) == {1}
    assert suspended.scalar("select count(*) from runs") == 1
    assert str(suspended.scalar("select worker from runs")).endswith(f" {heir.pid}")
    wait_for("the same in Prefect", lambda: suspended.state() == "COMPLETED")


def test_what_is_cancelled_while_its_run_is_suspended_ends_and_its_neighbour_waits_on(
    suspended: Suspended, services: Services, database: Database
):
    first, second = suspended.ids
    suspended.cancel(first)
    (ended,) = wait_until_final(database, ACME, [first], timeout_s=30)
    assert ended.status is CANCELLED
    assert suspended.statuses() == ["CANCELLED", "PAUSED"]
    assert suspended.state() == "PAUSED"
    services.worker()
    suspended.resume()
    (other,) = wait_until_final(database, ACME, [second])
    assert (other.status, other.attempt) == (COMPLETED, 1)


def test_a_suspended_run_whose_executions_are_all_cancelled_ends_on_both_sides(
    suspended: Suspended, database: Database
):
    for id in suspended.ids:
        suspended.cancel(id)
    executions = wait_until_final(database, ACME, suspended.ids, timeout_s=30)
    assert {e.status for e in executions} == {CANCELLED}
    wait_for("the same in Prefect", lambda: suspended.state() == "CANCELLED")
    wait_for("the run closed", lambda: suspended.scalar("select closed_at from runs"))
    assert suspended.scalar("select cancelled_count from workflows") == 2
