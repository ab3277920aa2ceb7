"""Find workflows whose deployment in Prefect is not what was published, and publish them again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import DeploymentSort

from domain.drift import Drift, DriftKind
from domain.ids import WorkflowId
from flows.naming import POOL, entrypoint_of
from flows.publish import fingerprint_of, publish_again
from flows.schedule_switches import Switch, find_switches, mirror_switches
from flows.schedule_translation import Firing, firing_of, publishable
from persistence.drift_log import Repair
from persistence.publishing import (
    Publication,
    find_published,
    list_published_page,
    list_refused,
)
from persistence.sessions import Database

_PAGE = 200
_NEWEST = 50


@dataclass(frozen=True, slots=True)
class DeploymentDrift:
    """A difference, and the workflow that it is in."""

    drift: Drift
    workflow_id: WorkflowId
    switches: Sequence[Switch] = ()
    """What somebody switched in Prefect: it is mirrored before anything is published."""


async def find_deployment_drift(client: PrefectClient, database: Database) -> list[DeploymentDrift]:
    """Compare every workflow that was published with its deployment, 200 a request.

    What has changed here and waits to be published is no drift; what cannot be published is.
    """
    found: list[DeploymentDrift] = []
    after: WorkflowId | None = None
    while True:
        drifts, after = await compare_slice(client, database, after=after, most=_PAGE)
        found += drifts
        if after is None:
            return found


async def compare_slice(
    client: PrefectClient, database: Database, *, after: WorkflowId | None, most: int
) -> tuple[list[DeploymentDrift], WorkflowId | None]:
    """Compare the next workflows, in the order of their ids, with their deployments.

    Returns:
        What differs, and behind which workflow to go on; `None`: these were the last.
    """

    def read() -> list[Publication]:
        with database.for_platform() as session:
            return list_published_page(session, after=after, most=most)

    published = await asyncio.to_thread(read)
    found: list[DeploymentDrift] = []
    for start in range(0, len(published), _PAGE):
        page = published[start : start + _PAGE]
        ids = [each.workflow.prefect_deployment_id for each in page]
        there = await client.read_deployments(
            deployment_filter=DeploymentFilter(
                id=DeploymentFilterId(any_=[id for id in ids if id is not None])
            ),
            limit=_PAGE,
        )
        found += _compare_all(page, there)
    return found, published[-1].workflow.id if len(published) == most else None


async def compare_newest(client: PrefectClient, database: Database) -> list[DeploymentDrift]:
    """Compare the deployments that were changed last in Prefect, by whoever it was.

    What was deleted there shows only when all are compared, a slice after the other.
    """
    there = await client.read_deployments(sort=DeploymentSort.UPDATED_DESC, limit=_NEWEST)

    def read() -> list[Publication]:
        with database.for_platform() as session:
            return find_published(session, [each.id for each in there])

    return _compare_all(await asyncio.to_thread(read), there)


def list_not_published(database: Database) -> list[Drift]:
    """List the workflows that Prefect has not taken, and the schedules that it would not take."""
    with database.for_platform() as session:
        refused = list_refused(session)
    return [
        Drift(
            kind=DriftKind.NOT_PUBLISHED,
            org_id=each.org_id,
            subject=each.workflow_id,
            here=f"to be published, {each.tries} tries",
            there=each.message,
        )
        for each in refused
    ]


def _compare_all(
    published: Sequence[Publication], there: Sequence[DeploymentResponse]
) -> list[DeploymentDrift]:
    by_id = {deployment.id: deployment for deployment in there}
    compared = [
        _compare(each, by_id.get(each.workflow.prefect_deployment_id))
        for each in published
        if each.workflow.prefect_deployment_id is not None
        # One that is not equal to it is about to be published.
        and each.published == fingerprint_of(each.workflow, each.schedules)
    ]
    return [drift for drift in compared if drift is not None]


async def repair_deployment(
    client: PrefectClient, database: Database, found: DeploymentDrift
) -> Repair:
    """Publish a workflow as it is here; what somebody did to it in Prefect is undone.

    But for the switches of its schedules, which hold here too.
    """
    if found.switches:
        await mirror_switches(database, found.switches)
    if found.drift.kind is DriftKind.SCHEDULE_SWITCHED:
        return Repair(found.drift, "paused and resumed the same here", is_repaired=True)
    deployment_id = await publish_again(client, database, found.workflow_id)
    if deployment_id is not None:
        # Publishing leaves alone what it does not name.
        await client.update_deployment(deployment_id, DeploymentUpdate(concurrency_limit=None))
    return Repair(found.drift, f"published it as {deployment_id}", deployment_id is not None)


def _compare(published: Publication, there: DeploymentResponse | None) -> DeploymentDrift | None:
    workflow = published.workflow
    switches: list[Switch] = []
    if there is None:
        kind, texts = DriftKind.DEPLOYMENT_MISSING, ["no such deployment"]
    else:
        kind, texts = DriftKind.DEPLOYMENT_DIFFERS, _differences(published, there)
        switches = find_switches(published.schedules, published.published, there)
        if switches and not texts:
            kind, texts = DriftKind.SCHEDULE_SWITCHED, [str(switch) for switch in switches]
    if not texts:
        return None
    drift = Drift(
        kind=kind,
        org_id=workflow.org_id,
        subject=workflow.id,
        here=f"published as version {workflow.version}",
        there="; ".join(texts),
    )
    return DeploymentDrift(drift, workflow.id, switches)


def _differences(published: Publication, there: DeploymentResponse) -> list[str]:
    workflow, limit = published.workflow, there.global_concurrency_limit
    same = {
        "entrypoint": there.entrypoint == entrypoint_of(workflow.id),
        "work pool": there.work_pool_name == POOL,
        "version": there.version == str(workflow.version),
        "parameters": not there.parameters,
        "job variables": not there.job_variables,
        "concurrency limit": limit is None,
    }
    texts = [f"{name} changed" for name, is_same in same.items() if not is_same]
    own = {_unswitched(schedule) for schedule in publishable(published.schedules)}
    if own != {_unswitched(schedule) for schedule in there.schedules}:
        texts.append("schedules changed")
    return texts


def _unswitched(schedule: DeploymentScheduleCreate | DeploymentSchedule) -> Firing:
    # Whether it is on is compared apart: what somebody switches in Prefect is not undone.
    return firing_of(schedule.model_copy(update={"active": True}))
