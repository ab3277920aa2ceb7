"""An agent that hangs: found, isolated, and ended; its neighbours lose nothing."""

import pytest

from domain.errors import ErrorCode
from domain.executions import ExecutionStatus
from persistence.sessions import Database
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import chain, queue, save_workflow
from tests.support.services import Services, wait_for, wait_until_final

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.prefect,
    pytest.mark.timeout(420),
]
COMPLETED = ExecutionStatus.COMPLETED


def test_an_execution_that_hangs_every_worker_fails_alone_and_no_neighbour_loses_an_attempt(
    services: Services, database: Database
):
    # Parents start again what ends itself.
    services.environ["TENANTRY_WORKER_PROCESSES"] = "2"
    obedient = {"type": "probe", "config": {"obey": True}}
    hanging = save_workflow(database, ACME, chain("Hanging", obedient))
    sound = save_workflow(database, GLOBEX, chain("Sound", {"type": "probe", "config": {}}))
    services.steward()
    services.worker()
    (first,) = wait_until_final(database, GLOBEX, [queue(database, GLOBEX, sound).id])
    assert first.status is COMPLETED
    beside = [queue(database, ACME, hanging).id for _ in range(10)]
    bad = queue(database, ACME, hanging, {"text": "x", "mode": "hang"}).id
    beside += [queue(database, ACME, hanging).id for _ in range(10)]
    others = [queue(database, GLOBEX, sound).id for _ in range(5)]
    found = wait_until_final(database, GLOBEX, others, timeout_s=100)
    assert {(e.status, e.attempt) for e in found} == {(COMPLETED, 1)}
    wait_for("the watch", lambda: "worker hangs run_id=run_" in services.log(), timeout_s=60)
    # While what hangs is tried again, the workers of the queue go on.
    during = [queue(database, GLOBEX, sound).id for _ in range(5)]
    found = wait_until_final(database, GLOBEX, during, timeout_s=100)
    assert {(e.status, e.attempt) for e in found} == {(COMPLETED, 1)}
    found = wait_until_final(database, ACME, beside, timeout_s=200)
    assert {(e.status, e.attempt) for e in found} == {(COMPLETED, 1)}
    (lost,) = wait_until_final(database, ACME, [bad], timeout_s=200)
    assert (lost.status, lost.attempt) == (ExecutionStatus.FAILED, 3)
    assert lost.error is not None
    assert lost.error.code is ErrorCode.EXECUTION_LOST
