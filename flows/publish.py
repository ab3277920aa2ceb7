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
from domain.errors import ErrorCode, TenantryError
from domain.ids import WorkflowId
from domain.json_data import JsonObject
from flows.naming import DEPLOYMENT, POOL, describe_workflow, entrypoint_of, flow_name
from flows.schedule_switches import find_switches, mirror_switches
from flows.schedule_translation import find_refusal, fingerprint, publishable
from persistence.organizations import get_org_slug
from persistence.publishing import (
    Publication,
    list_due,
    note_invalid,
    note_published,
    note_refused,
)
from persistence.schedules import list_schedules_of
from persistence.sessions import Database
from persistence.workflows import find_owner, set_published

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


# Workflows of one round, and how many of them at a time: the steward has other things to do.
_BATCH = 64
_AT_ONCE = 4
_READY_TIMEOUT_S = 5.0


async def wait_for_prefect() -> None:
    """Wait until Prefect's server answers and reaches its database, as long as it takes.

    Asked without Prefect's client, which gives up when it meets no server at its start.
    """
    url = f"{PREFECT_API_URL.value()}/ready"
    async with httpx.AsyncClient(timeout=_READY_TIMEOUT_S) as client:
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
            return list_schedules_of(session, [schedules[0].workflow_id])

    return await asyncio.to_thread(read)


async def publish_due(client: PrefectClient, database: Database) -> bool:
    """Publish the workflows that were changed, some at a time; return whether more are due.

    Each stands alone: one that Prefect refuses is tried again later and later, and keeps no other
    one waiting. Killed at any point, what is not noted as published is published again.

    Raises:
        httpx.HTTPError: Prefect, or its database, is away; that is held against no workflow.
        DatabaseUnreachable: our own is away.
    """

    def read() -> list[Publication]:
        with database.for_platform() as session:
            return list_due(session, most=_BATCH)

    due = await asyncio.to_thread(read)
    room = asyncio.Semaphore(_AT_ONCE)

    async def publish(each: Publication) -> tuple[Publication, httpx.HTTPError | None]:
        async with room:
            return each, await _publish_one(client, database, each)

    failed: list[tuple[Publication, httpx.HTTPError]] = []
    for result in await asyncio.gather(*map(publish, due), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        each, failure = result
        if failure is not None:
            failed.append((each, failure))
    if failed and not await _is_ready(client):
        raise failed[0][1]
    for each, error in failed:
        # It was there all the time: what it fails at is this workflow.
        await _note_failed(database, each, _describe(error))
    return len(due) == _BATCH


async def _is_ready(client: PrefectClient) -> bool:
    """Say whether Prefect's server answers and reaches its database."""
    url = f"{str(client.api_url).rstrip('/')}/ready"
    async with httpx.AsyncClient(timeout=_READY_TIMEOUT_S) as asking:
        try:
            return (await asking.get(url)).is_success
        except httpx.HTTPError:
            return False


def _describe(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"Prefect answered {error.response.status_code}."
    return "Prefect did not answer, though it answers to others."


async def _note_failed(database: Database, publication: Publication, message: str) -> None:
    def note() -> None:
        with database.for_platform() as session:
            note_refused(session, publication, code=ErrorCode.PREFECT_REFUSED, message=message)

    await asyncio.to_thread(note)
    _LOG.error(
        "publishing failed workflow_id=%s tries=%d: %s",
        publication.workflow.id,
        publication.tries + 1,
        message,
    )


async def _publish_one(
    client: PrefectClient, database: Database, publication: Publication
) -> httpx.HTTPError | None:
    """Publish a workflow, and note it; return the failure that may be Prefect's as a whole."""
    workflow, schedules = publication.workflow, publication.schedules
    is_new = publication.published != fingerprint_of(workflow, schedules)
    refusal: str | None = None
    invalid = [(each.id, found) for each in schedules if (found := find_refusal(each)) is not None]
    for schedule_id, found in invalid:
        _LOG.error(
            "schedule refused schedule_id=%s workflow_id=%s code=%s: %s",
            schedule_id,
            workflow.id,
            found.code.value,
            found.message,
        )
    if is_new:
        try:
            await publish_workflow(
                client, database, workflow, schedules, published=publication.published
            )
        except TenantryError:
            raise  # our own database is away
        except httpx.HTTPError as error:
            is_refused = isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error
            if not is_refused:
                return error
            refusal = _describe(error)
        except Exception:
            # The loop must go on with the other workflows, whatever Prefect's client thinks of it.
            refusal = "It could not be handed to Prefect."
            _LOG.exception("publishing failed workflow_id=%s", workflow.id)

    if refusal is not None:
        await _note_failed(database, publication, refusal)
        return None

    def note() -> None:
        with database.for_platform() as session:
            if invalid:
                # Published without them, and shown until somebody changes them.
                texts = [f"{id}: {found.message}" for id, found in invalid]
                code = invalid[0][1].code
                note_invalid(session, publication, code=code, message=" ".join(texts))
            else:
                note_published(session, publication)

    await asyncio.to_thread(note)
    return None


async def publish_again(
    client: PrefectClient, database: Database, workflow_id: WorkflowId
) -> UUID | None:
    """Publish one workflow whatever was published before; `None` if it does not exist.

    Raises:
        DatabaseUnreachable: it may be published, and not noted: call it again.
    """

    def read() -> tuple[Workflow | None, list[Schedule]]:
        with database.for_platform() as session:
            return find_owner(session, workflow_id), list_schedules_of(session, [workflow_id])

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
