"""What programs get, beyond what `deployments.documents` writes for everybody."""

from collections.abc import Sequence
from datetime import datetime

from deployments.documents import execution_document
from domain.catalog import Schedule, Workflow
from domain.executions import Execution
from domain.json_data import JsonObject
from domain.schedules import check_schedule

_LARGE = frozenset({"input_data", "output", "agent_results", "execution_graph", "prefect_url"})


def workflow_document(workflow: Workflow) -> JsonObject:
    """Write a workflow with its statistics."""
    return {
        "id": workflow.id,
        "org_id": workflow.org_id,
        "name": workflow.name,
        "slug": workflow.slug,
        "description": workflow.description,
        "version": workflow.version,
        "execution_count": workflow.execution_count,
        "success_count": workflow.success_count,
        "failure_count": workflow.failure_count,
        "cancelled_count": workflow.cancelled_count,
        "created_at": workflow.created_at.isoformat(),
        "updated_at": workflow.updated_at.isoformat(),
    }


def summary_document(execution: Execution) -> JsonObject:
    """Write an execution for a list: without what may be large."""
    whole = execution_document(execution)
    return {name: value for name, value in whole.items() if name not in _LARGE}


def schedule_document(schedule: Schedule, *, next_times: Sequence[datetime]) -> JsonObject:
    """Write a schedule, with when it fires next."""
    return {
        "id": schedule.id,
        "org_id": schedule.org_id,
        "workflow_id": schedule.workflow_id,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "input_data": schedule.input_data,
        "created_by": schedule.created_by,
        "created_at": schedule.created_at.isoformat(),
        "paused_at": schedule.paused_at.isoformat() if schedule.paused_at else None,
        "paused_by": schedule.paused_by,
        "next_times": [at.isoformat() for at in next_times],
        "problems": [
            {**each.as_json()} for each in check_schedule(schedule.cron, schedule.timezone)
        ],
    }
