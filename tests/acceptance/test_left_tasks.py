"""Tasks of which Prefect never heard the end are ended there, and those of others are not."""

from typing import Any
from uuid import UUID

import httpx
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import text

from deployments.embedded.stack import EmbeddedStack
from flows.left_tasks import end_left_tasks
from persistence.queue import claim_run
from persistence.runs import close_run, set_flow_run
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import queue, simple_workflow


def make_flow_run(url: str, state: str) -> dict[str, Any]:
    """Make a flow run in a state, with one task that runs."""

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        return httpx.post(f"{url}/{path}", json=body, timeout=30).raise_for_status().json()

    flow = post("flows/", {"name": "left tasks"})
    flow_run = post("flow_runs/", {"flow_id": flow["id"], "state": {"type": state}})
    wish = {"flow_run_id": flow_run["id"], "task_key": "step", "dynamic_key": "0", "name": "Step"}
    return post("task_runs/", {**wish, "state": {"type": "RUNNING"}})


def state_of(url: str, task: dict[str, Any]) -> str:
    found = httpx.get(f"{url}/task_runs/{task['id']}", timeout=30).raise_for_status().json()
    return found["state"]["type"]


async def test_only_tasks_of_runs_that_have_ended_here_for_a_while_are_ended(
    prefect: EmbeddedStack, database: Database
):
    url, workflow = prefect.prefect_api_url, simple_workflow(database, ACME)
    tasks = {
        "of a run that has ended": make_flow_run(url, "CRASHED"),
        "of one that has just ended": make_flow_run(url, "COMPLETED"),
        "of one that goes on": make_flow_run(url, "RUNNING"),
        "of a flow that is not ours": make_flow_run(url, "FAILED"),
    }
    for name, task in list(tasks.items())[:3]:
        queue(database, ACME, workflow)
        with database.for_platform() as session:
            claimed = claim_run(session, worker="killed", lease_s=60)
            assert claimed is not None
            set_flow_run(session, claimed.run, UUID(task["flow_run_id"]))
        if "ended" in name:
            with database.org(ACME) as session:
                close_run(session, claimed.run.id)
        if "just" not in name:
            back = text("update runs set closed_at = closed_at - interval '1 min' where id = :id")
            with database.org(ACME) as session:
                session.execute(back, {"id": claimed.run.id})
    with temporary_settings({PREFECT_API_URL: url}):
        async with get_client() as client:
            assert await end_left_tasks(client, database) == 1
            assert await end_left_tasks(client, database) == 0
    assert {name: state_of(url, task) for name, task in tasks.items()} == {
        "of a run that has ended": "CRASHED",
        "of one that has just ended": "RUNNING",
        "of one that goes on": "RUNNING",
        "of a flow that is not ours": "RUNNING",
    }
