"""Find workflows whose deployment in Prefect is not what was published, and publish them again."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from domain.catalog import Schedule, Workflow
from domain.drift import Drift, DriftKind
from domain.ids import WorkflowId
from flows.naming import POOL, entrypoint_of
from flows.publish import fingerprint_of, publish_again
from flows.schedule_switches import Switch, find_switches, mirror_switches
from flows.schedule_translation import Firing, firing_of, publishable
from persistence.drift_log import Repair
from persistence.schedules import list_all_schedules
from persistence.sessions import Database
from persistence.workflows import list_all_workflows

_PAGE = 200


@dataclass(frozen=True, slots=True)
class DeploymentDrift:
    """A difference, and the workflow that it is in."""

    drift: Drift
    workflow_id: WorkflowId
    switches: Sequence[Switch] = ()
    """What somebody switched in Prefect: it is mirrored before anything is published."""


@dataclass(frozen=True, slots=True)
class _Published:
    workflow: Workflow
    schedules: Sequence[Schedule]
    deployment_id: UUID
    published: Mapping[str, Any] | None


async def find_deployment_drift(client: PrefectClient, database: Database) -> list[DeploymentDrift]:
    """Compare every workflow that was published with its deployment, 200 a request.

    What has changed here and waits to be published is no drift.
    """
    published = await asyncio.to_thread(_read_published, database)
    found: list[DeploymentDrift] = []
    for start in range(0, len(published), _PAGE):
        page = published[start : start + _PAGE]
        ids = [each.deployment_id for each in page]
        there = {
            deployment.id: deployment
            for deployment in await client.read_deployments(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=ids)), limit=_PAGE
            )
        }
        for each in page:
            drift = _compare(each, there.get(each.deployment_id))
            if drift is not None:
                found.append(drift)
    return found


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


def _read_published(database: Database) -> list[_Published]:
    with database.for_platform() as session:
        workflows = list_all_workflows(session)
        schedules = list_all_schedules(session)
    by_workflow: dict[WorkflowId, list[Schedule]] = {}
    for schedule in schedules:
        by_workflow.setdefault(schedule.workflow_id, []).append(schedule)
    found: list[_Published] = []
    for workflow, published in workflows:
        own = by_workflow.get(workflow.id, [])
        if workflow.prefect_deployment_id and published == fingerprint_of(workflow, own):
            found.append(_Published(workflow, own, workflow.prefect_deployment_id, published))
    return found


def _compare(published: _Published, there: DeploymentResponse | None) -> DeploymentDrift | None:
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


def _differences(published: _Published, there: DeploymentResponse) -> list[str]:
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
