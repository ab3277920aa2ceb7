"""Start the Prefect flow run of a claimed run."""

from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending

from domain.errors import ErrorCode, TenantryError
from domain.ids import WorkflowId
from domain.runs import ClaimedRun
from flows.naming import run_name
from flows.publish import publish_again
from persistence.runs import set_flow_run
from persistence.sessions import Database
from persistence.workflows import find_owner


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
    first flow run.

    Raises:
        LeaseLost: the run was taken from this worker meanwhile.
        DeploymentMissing: there is nothing to start it from.
    """
    run = claimed.run
    with database.for_platform() as session:
        workflow = find_owner(session, run.workflow_id)
    deployment_id = workflow.prefect_deployment_id if workflow else None
    if deployment_id is None:
        deployment_id = await publish_again(client, database, run.workflow_id)
    if deployment_id is None:
        raise DeploymentMissing(run.workflow_id)
    try:
        flow_run = await _create(client, deployment_id, claimed)
    except ObjectNotFound:
        # Somebody deleted the deployment in Prefect.
        deployment_id = await publish_again(client, database, run.workflow_id)
        if deployment_id is None:
            raise DeploymentMissing(run.workflow_id) from None
        flow_run = await _create(client, deployment_id, claimed)
    with database.for_platform() as session:
        set_flow_run(session, run, flow_run.id)
    return flow_run


async def _create(client: PrefectClient, deployment_id: UUID, claimed: ClaimedRun) -> FlowRun:
    run = claimed.run
    return await client.create_flow_run_from_deployment(
        deployment_id,
        parameters={"run": run.id},
        state=Pending(),
        name=run_name(run.id, claimed.execution_ids),
        tags=[f"trigger:{claimed.trigger.value}"],
        idempotency_key=run.id,
    )
