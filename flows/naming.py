"""What things of ours are called in Prefect, where one server is one namespace."""

from collections.abc import Sequence

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


def run_name(run_id: RunId, execution_ids: Sequence[ExecutionId]) -> str:
    """Name a flow run: by its execution, or by the run and how many it carries."""
    if len(execution_ids) == 1:
        return execution_ids[0]
    return f"{run_id} ({len(execution_ids)})"
