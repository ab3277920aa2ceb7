"""Start the Prefect flow run of a claimed run."""

import asyncio
from collections import OrderedDict
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentFlowRunCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Pending, to_state_create

from domain.errors import ErrorCode, TenantryError
from domain.ids import WorkflowId
from domain.runs import ClaimedRun, Run
from flows.naming import run_name
from flows.publish import publish_again
from persistence.patience import keep_trying
from persistence.runs import set_flow_run
from persistence.sessions import Database
from persistence.workflows import find_owner

_KEPT = 4096
# Deployments by workflow version, as this process has used them. What Prefect no longer knows it
# says itself, and a workflow that is published as another deployment has another version.
_deployments: OrderedDict[tuple[WorkflowId, int], UUID] = OrderedDict()


class DeploymentMissing(TenantryError):
    """A run's workflow has no deployment, and none could be made."""

    code = ErrorCode.PREFECT_UNREACHABLE
    retryable = True

    def __init__(self, workflow_id: WorkflowId) -> None:
        super().__init__(
            f"Workflow `{workflow_id}` could not be published to Prefect.",
            hint="See the worker's log, and whether Prefect's server answers.",
        )


async def launch(client: PrefectClient, database: Database, claimed: ClaimedRun) -> FlowRun:
    """Create a claimed run's Prefect flow run from its workflow's deployment.

    Made as Pending: a scheduled one would be handed out by the work pool a second time. The
    idempotency key is the run's id: killed after the call and called again, Prefect returns the
    first flow run. Our row does not say yet which one it is: `note_flow_run`.

    Raises:
        DeploymentMissing: there is nothing to start it from.
    """
    run = claimed.run
    key = (run.workflow_id, run.workflow_version)
    flow_run = None
    deployment_id = _deployments.get(key) or await asyncio.to_thread(_read, database, run)
    if deployment_id is not None:
        flow_run = await _find_made(client, deployment_id, claimed)
    if flow_run is None:
        _deployments.pop(key, None)
        deployment_id = await publish_again(client, database, run.workflow_id)
        if deployment_id is None:
            raise DeploymentMissing(run.workflow_id)
        flow_run = await _create(client, deployment_id, claimed)
    if deployment_id is not None:
        _deployments[key] = deployment_id
        while len(_deployments) > _KEPT:
            _deployments.popitem(last=False)
    return flow_run


async def note_flow_run(database: Database, run: Run, flow_run_id: UUID) -> None:
    """Write down which flow run a run is; waits for a database that is away.

    Killed before it, the steward finds the flow run by its name and idempotency key.

    Raises:
        LeaseLost: the run was taken from this worker meanwhile.
    """

    def note() -> None:
        with database.for_platform() as session:
            set_flow_run(session, run, flow_run_id)

    await asyncio.to_thread(keep_trying, note)


def _read(database: Database, run: Run) -> UUID | None:
    with database.for_platform() as session:
        workflow = find_owner(session, run.workflow_id)
    return workflow.prefect_deployment_id if workflow else None


async def _find_made(
    client: PrefectClient, deployment_id: UUID, claimed: ClaimedRun
) -> FlowRun | None:
    # `None` when somebody has deleted the deployment in Prefect.
    try:
        return await _create(client, deployment_id, claimed)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        return None


async def _create(client: PrefectClient, deployment_id: UUID, claimed: ClaimedRun) -> FlowRun:
    run = claimed.run
    wish = DeploymentFlowRunCreate(
        parameters={"run": run.id},
        # One parameter, and it is ours: checking it costs the server more than storing it.
        enforce_parameter_schema=False,
        state=to_state_create(Pending()),
        name=run_name(run.id, claimed.execution_ids),
        tags=[f"trigger:{claimed.trigger.value}"],
        idempotency_key=run.id,
    )
    # The client's own method for this does not know `enforce_parameter_schema`.
    answer = await client.request(
        "POST",
        "/deployments/{id}/create_flow_run",
        path_params={"id": deployment_id},
        json=wish.model_dump(mode="json", exclude_unset=True),
    )
    return FlowRun.model_validate(answer.json())
