"""Executions, workflows and audit entries as JSON documents, for programs."""

from datetime import datetime

from domain.audit import ChainedEntry
from domain.catalog import Workflow
from domain.executions import Execution
from domain.json_data import JsonObject


def execution_document(execution: Execution, *, prefect_url: str | None = None) -> JsonObject:
    """Write an execution whole. Times are ISO 8601 in UTC, money is a decimal in a string."""
    error = execution.error
    return {
        "id": execution.id,
        "org_id": execution.org_id,
        "workflow_id": execution.workflow_id,
        "workflow_version": execution.workflow_version,
        "status": execution.status.value,
        "trigger": execution.trigger.value,
        "requested_by": execution.requested_by,
        "priority": execution.priority,
        "attempt": execution.attempt,
        "input_data": execution.input_data,
        "output": execution.output,
        "error": error.message if error else None,
        "error_code": error.code.value if error else None,
        "error_hint": error.hint if error else None,
        "agent_results": execution.agent_results,
        "execution_graph": execution.execution_graph,
        "tokens_used": execution.tokens_used,
        "cost": f"{execution.cost.normalize():f}",
        "duration_seconds": execution.duration_seconds,
        "created_at": _time(execution.created_at),
        "started_at": _time(execution.started_at),
        "completed_at": _time(execution.completed_at),
        "run_id": execution.run_id,
        "idempotency_key": execution.idempotency_key,
        "replay_of": execution.replay_of,
        "prefect_flow_run_id": execution.prefect_flow_run_id,
        "prefect_url": prefect_url,
    }


def statistics_document(workflow: Workflow) -> JsonObject:
    """Write a workflow's statistics: counts of finished executions."""
    return {
        "workflow_id": workflow.id,
        "workflow": workflow.name,
        "execution_count": workflow.execution_count,
        "success_count": workflow.success_count,
        "failure_count": workflow.failure_count,
        "cancelled_count": workflow.cancelled_count,
        "updated_at": _time(workflow.updated_at),
    }


def audit_document(item: ChainedEntry) -> JsonObject:
    """Write an audit entry with its place in the chain; hashes as hex digits."""
    entry = item.entry
    return {
        "id": item.id,
        "org_id": item.org_id,
        "seq": item.seq,
        "timestamp": _time(entry.timestamp),
        "user_id": entry.user_id,
        "action": entry.action,
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "execution_id": entry.execution_id,
        "success": entry.success,
        "error_message": entry.error_message,
        "details": entry.details,
        "ip_address": entry.ip_address,
        "user_agent": entry.user_agent,
        "prev_hash": item.prev_hash.hex(),
        "hash": item.hash.hex(),
    }


def flow_run_url(prefect_ui_url: str | None, execution: Execution) -> str | None:
    """Give the address of an execution's run in Prefect's pages, once it has one."""
    if prefect_ui_url is None or execution.prefect_flow_run_id is None:
        return None
    return f"{prefect_ui_url}/runs/flow-run/{execution.prefect_flow_run_id}"


def agent_results_in_order(execution: Execution) -> list[tuple[str, JsonObject]]:
    """List an execution's results by agent in the order of its workflow's definition.

    Postgres keeps JSON objects without their order; the graph's list of nodes has it.
    """
    results = execution.agent_results or {}
    nodes = (execution.execution_graph or {}).get("nodes")
    names = (
        [node["name"] for node in nodes if isinstance(node, dict)]
        if isinstance(nodes, list)
        else []
    )
    found: list[tuple[str, JsonObject]] = []
    for name in names:
        result = results.get(str(name))
        if isinstance(result, dict):
            found.append((str(name), result))
    return found


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
