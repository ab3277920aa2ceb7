"""What things of ours are called in Prefect, where one server is one namespace."""

from collections.abc import Sequence

from prefect.client.schemas.objects import FlowRun

from domain.catalog import Workflow
from domain.executions import Trigger
from domain.ids import ExecutionId, RunId, WorkflowId

POOL = "tenantry"
"""Work pool, and worker type, of all tenants' runs."""

DEPLOYMENT = "live"
"""The one deployment that each workflow has."""


def flow_name(org_slug: str, workflow_slug: str) -> str:
    """Name a workflow's flow."""
    return f"{org_slug}.{workflow_slug}"


def entrypoint_of(workflow_id: WorkflowId) -> str:
    """Name the place where Prefect finds a workflow's flow: `flows/compiled.py`."""
    return f"flows.compiled.{workflow_id}"


def tags_of(flow_run: FlowRun, trigger: Trigger) -> list[str]:
    """List the tags of a run that Prefect made, with what made it."""
    return [*dict.fromkeys([*flow_run.tags, f"trigger:{trigger.value}"])]


def describe_workflow(workflow: Workflow, org_slug: str) -> str:
    """Describe a workflow on its deployment's page. Nothing of what the tenant wrote.

    The names of an organization and a workflow are their slugs here, as in tags.
    """
    return (
        f"Workflow `{workflow.slug}` of organization `{org_slug}`, version {workflow.version} "
        f"(`{workflow.id}`).\n\n"
        "*Run* starts it once with its default input: leave the parameter empty. Runs are named by "
        f"their execution; inputs and answers are in Tenantry only. A schedule that is switched "
        "off here stays off; whatever else is edited here is undone.\n\n"
        f"`tenantry workflows show {workflow.id}`"
    )


def run_name(run_id: RunId, execution_ids: Sequence[ExecutionId]) -> str:
    """Name a flow run: by its execution, or by the run and how many it carries."""
    if len(execution_ids) == 1:
        return execution_ids[0]
    return f"{run_id} ({len(execution_ids)})"
