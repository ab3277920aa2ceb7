"""Keep Prefect's flows, deployments and schedules equal to our workflows and schedules."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL

from domain.catalog import Schedule, Workflow
from domain.ids import WorkflowId
from domain.json_data import JsonObject
from flows.naming import DEPLOYMENT, POOL, describe_workflow, entrypoint_of, flow_name
from flows.schedule_switches import find_switches, mirror_switches
from flows.schedule_translation import fingerprint, publishable
from persistence.organizations import get_org_slug
from persistence.schedules import list_all_schedules
from persistence.sessions import Database
from persistence.workflows import find_owner, list_all_workflows, set_published

_LOG = logging.getLogger("tenantry.publish")
# The flow's one parameter, as Prefect's UI shows it. The engine fills it in: whoever presses Run
# leaves it empty.
PARAMETERS: JsonObject = {
    "type": "object",
    "title": "Parameters",
    "properties": {
        "run": {
            "title": "run",
            "description": "Leave it empty: the workflow's default input is used, and a run that "
            "gives anything here is refused. Inputs are given with `tenantry run` or the API.",
            "anyOf": [{"type": "string"}, {"type": "null"}],
            "default": None,
            "position": 0,
        }
    },
}


_Published = tuple[Workflow, Mapping[str, Any] | None]


async def wait_for_prefect() -> None:
    """Wait until Prefect's server answers and reaches its database, as long as it takes.

    Asked without Prefect's client, which gives up when it meets no server at its start.
    """
    url = f"{PREFECT_API_URL.value()}/ready"
    async with httpx.AsyncClient(timeout=5) as client:
        while True:
            try:
                (await client.get(url)).raise_for_status()
            except httpx.HTTPError as error:
                _LOG.debug("waiting for Prefect: %s", type(error).__name__)
                await asyncio.sleep(0.2)
            else:
                return


async def ensure_pool(client: PrefectClient) -> None:
    """Make our work pool in Prefect, unless it is there."""
    try:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type=POOL))
    except ObjectAlreadyExists:
        return


async def publish_workflow(
    client: PrefectClient,
    database: Database,
    workflow: Workflow,
    schedules: Sequence[Schedule],
    *,
    published: Mapping[str, Any] | None = None,
) -> UUID:
    """Create or replace a workflow's flow and deployment; return the deployment's id.

    Prefect's call replaces schedules too, and drops their runs that have not started; so it is
    made only when something has changed. Killed before the last line, it is made again. Whether the
    deployment is paused stays as somebody set it in Prefect; so do its schedules' switches, where
    it is told what was `published` before.
    """

    def read() -> str:
        with database.for_platform() as session:
            return get_org_slug(session, workflow.org_id)

    def note(deployment_id: UUID) -> None:
        with database.for_platform() as session:
            set_published(
                session,
                workflow.id,
                deployment_id=deployment_id,
                published=fingerprint_of(workflow, schedules),
            )

    if published is not None and workflow.prefect_deployment_id is not None:
        schedules = await _mirror_switches(
            client, database, workflow.prefect_deployment_id, schedules, published=published
        )
    org_slug = await asyncio.to_thread(read)
    flow_id = await client.create_flow_from_name(flow_name(org_slug, workflow.slug))
    deployment_id = await client.create_deployment(
        flow_id=flow_id,
        name=DEPLOYMENT,
        entrypoint=entrypoint_of(workflow.id),
        work_pool_name=POOL,
        parameter_openapi_schema=PARAMETERS,
        enforce_parameter_schema=True,
        parameters={},
        job_variables={},
        version=str(workflow.version),
        description=describe_workflow(workflow, org_slug),
        tags=[f"org:{org_slug}", f"workflow:{workflow.slug}"],
        schedules=publishable(schedules),
    )
    await asyncio.to_thread(note, deployment_id)
    _LOG.info("published workflow %s as deployment %s", workflow.id, deployment_id)
    return deployment_id


async def _mirror_switches(
    client: PrefectClient,
    database: Database,
    deployment_id: UUID,
    schedules: Sequence[Schedule],
    *,
    published: Mapping[str, Any],
) -> Sequence[Schedule]:
    """Take over what was switched in Prefect, which publishing would switch back."""
    try:
        there = await client.read_deployment(deployment_id)
    except ObjectNotFound:
        return schedules
    switches = find_switches(schedules, published, there)
    if not switches:
        return schedules
    await mirror_switches(database, switches)

    def read() -> list[Schedule]:
        with database.for_platform() as session:
            return [s for s in list_all_schedules(session) if s.id in wanted]

    wanted = {schedule.id for schedule in schedules}
    return await asyncio.to_thread(read)


async def publish_all(client: PrefectClient, database: Database) -> int:
    """Publish every workflow that differs from what was published; return how many did.

    One that Prefect refuses keeps no other one from being published.
    """

    def read() -> tuple[Sequence[_Published], Sequence[Schedule]]:
        with database.for_platform() as session:
            return list_all_workflows(session), list_all_schedules(session)

    workflows, schedules = await asyncio.to_thread(read)
    by_workflow: dict[WorkflowId, list[Schedule]] = {}
    for schedule in schedules:
        by_workflow.setdefault(schedule.workflow_id, []).append(schedule)
    count = 0
    for workflow, published in workflows:
        own = by_workflow.get(workflow.id, [])
        if published == fingerprint_of(workflow, own):
            continue
        try:
            await publish_workflow(client, database, workflow, own, published=published)
        except httpx.HTTPStatusError as refused:
            if refused.response.is_server_error:
                raise
            _LOG.error("Prefect refused workflow %s: %s", workflow.id, refused.response.status_code)
        else:
            count += 1
    return count


async def publish_again(
    client: PrefectClient, database: Database, workflow_id: WorkflowId
) -> UUID | None:
    """Publish one workflow whatever was published before; `None` if it does not exist.

    Raises:
        DatabaseUnreachable: it may be published, and not noted: call it again.
    """

    def read() -> tuple[Workflow | None, list[Schedule]]:
        with database.for_platform() as session:
            schedules = list_all_schedules(session)
            own = [s for s in schedules if s.workflow_id == workflow_id]
            return find_owner(session, workflow_id), own

    workflow, schedules = await asyncio.to_thread(read)
    if workflow is None:
        return None
    return await publish_workflow(client, database, workflow, schedules)


def fingerprint_of(workflow: Workflow, schedules: Sequence[Schedule]) -> JsonObject:
    """Say what is published of a workflow: the same again need not be."""
    return {
        "version": workflow.version,
        "slug": workflow.slug,
        "schedules": [fingerprint(schedule) for schedule in schedules],
    }
