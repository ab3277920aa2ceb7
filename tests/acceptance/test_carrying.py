"""A worker from whom a run was taken has no say in it any more, whenever that happens."""

import asyncio
from pathlib import Path

import httpx
import pytest
from prefect import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    temporary_settings,
)

from deployments.carrying import Carrier
from deployments.embedded.stack import EmbeddedStack
from domain.executions import ExecutionStatus
from domain.runs import Run
from flows.publish import ensure_pool
from flows.runtime import Runtime, set_runtime
from persistence.audit import list_audit
from persistence.executions import get_execution
from persistence.queue import claim_run
from persistence.runs import end_lease, fence_run, find_run_by_id
from persistence.sessions import Database
from tests.support.agents import probe_registry
from tests.support.databases import ACME
from tests.support.factories import chain, queue, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, drop_deployments, wait_for, wait_until_final


def take_away(database: Database, run: Run) -> Run:
    """Fence a run's worker, as the steward does with one that it takes for lost."""
    with database.for_platform() as session:
        fenced = fence_run(session, run, lease_s=3600, lapsed=False)
    assert fenced is not None
    return fenced


@pytest.mark.prefect
@pytest.mark.parametrize("moment", ["before it is read", "while Prefect makes it"])
async def test_a_run_that_is_lost_before_its_flow_run_is_noted_tells_prefect_nothing(
    prefect: EmbeddedStack, database: Database, tmp_path: Path, moment: str
):
    effects = tmp_path / "effects"
    step = {"type": "probe", "config": {"effects": str(effects)}}
    workflow = save_workflow(database, ACME, chain("Taken", step))
    execution = queue(database, ACME, workflow)
    runtime = Runtime(database=database, registry=probe_registry(), data_root=tmp_path)
    set_runtime(runtime)
    settings = {
        PREFECT_API_URL: prefect.prefect_api_url,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
    }
    with temporary_settings(settings):
        async with get_client() as client:
            await ensure_pool(client)
            with database.for_platform() as session:
                claimed = claim_run(session, worker="slow", lease_s=3600)
            assert claimed is not None

            async def take_it(request: httpx.Request) -> None:
                if request.url.path.endswith("/create_flow_run"):
                    # What the worker reads beside this call, it has read by then.
                    await asyncio.sleep(2)
                    await asyncio.to_thread(take_away, database, claimed.run)

            if moment == "before it is read":
                take_away(database, claimed.run)
            else:
                client._client.event_hooks["request"].append(take_it)
            carrier = Carrier(client, runtime, worker="slow", lease_s=3600, limit=1, executions=1)
            await carrier.start(claimed)
    api = PrefectApi(prefect.prefect_api_url)
    made = [run for run in api.flow_runs_in("PENDING") if run["idempotency_key"] == claimed.run.id]
    assert len(made) == 1
    assert [state["type"] for state in api.states(made[0]["id"])] == ["PENDING"]
    assert carrier.live == {}
    assert not effects.exists()
    with database.org(ACME) as session:
        found = get_execution(session, execution.id)
    assert (found.status, found.run_id) == (ExecutionStatus.PENDING, claimed.run.id)
    httpx.delete(f"{prefect.prefect_api_url}/flow_runs/{made[0]['id']}").raise_for_status()
    drop_deployments(prefect)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.prefect
@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", [1, 3], ids=["single", "coalesced"])
@pytest.mark.parametrize("retries", [0, 2], ids=["no retries", "retries"])
def test_a_run_that_is_lost_in_the_middle_of_an_agent_crashes_once_and_waits_again_once(
    services: Services, database: Database, size: int, retries: int
):
    # So long that the worker hears of it from the refused answer of its agent only.
    services.environ["TENANTRY_LEASE_S"] = "3600"
    step = {"type": "probe", "config": {"sleep_s": 4}, "options": {"retries": retries}}
    workflow = save_workflow(database, ACME, chain("Middle", step, step))
    ids = [queue(database, ACME, workflow).id for _ in range(size)]
    worker = services.worker()

    def running() -> Run | None:
        with database.org(ACME) as session:
            found = [get_execution(session, id) for id in ids]
        if any(e.status is not ExecutionStatus.RUNNING or e.run_id is None for e in found):
            return None
        with database.for_platform() as session:
            return find_run_by_id(session, found[0].run_id)

    fenced = take_away(database, wait_for("all running", running, timeout_s=100))
    flow_run_id = str(fenced.prefect_flow_run_id)
    api = PrefectApi(services.stack.prefect_api_url)
    wait_for("the worker aware of it", lambda: "not carried to its end" in services.log())
    assert [state["type"] for state in api.states(flow_run_id)] == ["PENDING", "RUNNING"]
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    assert [state["type"] for state in api.states(flow_run_id)] == ["PENDING", "RUNNING"]
    with database.for_platform() as session:
        end_lease(session, fenced)
    services.environ["TENANTRY_LEASE_S"] = "3"
    services.steward()
    services.worker()
    executions = wait_until_final(database, ACME, ids)
    # Only what was lost alone loses an attempt.
    attempt = 2 if size == 1 else 1
    assert {(e.status, e.attempt) for e in executions} == {(ExecutionStatus.COMPLETED, attempt)}
    types = [state["type"] for state in api.states(flow_run_id)]
    assert types == ["PENDING", "RUNNING", "CRASHED"]
    for id in ids:
        with database.org(ACME) as session:
            actions = [item.entry.action for item in list_audit(session, resource_id=id)]
        assert actions.count("execution.requeued") == 1
        assert actions.count("workflow.executed") == 1
