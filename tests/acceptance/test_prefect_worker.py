"""Prefect's own command runs our worker type."""

import pytest

from domain.executions import ExecutionStatus
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import chain, queue, save_workflow
from tests.support.services import Services, wait_until_final


@pytest.mark.timeout(120)
def test_prefect_worker_start_carries_out_executions(services: Services, database: Database):
    workflow = save_workflow(database, ACME, chain("Ask", {"type": "lead_request"}))
    text = "fintechs in New York with 50 to 200 people"
    execution = queue(database, ACME, workflow, {"text": text})
    process = services.prefect("worker", "start", "--pool", "tenantry", "--type", "tenantry")
    (found,) = wait_until_final(database, ACME, [execution.id])
    assert found.status is ExecutionStatus.COMPLETED
    assert found.output is not None
    assert found.output["criteria"]
    process.terminate()
    assert process.wait(timeout=60) == 0
