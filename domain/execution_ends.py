"""How an execution's end stands in the audit trail: on its workflow, naming the execution."""

from datetime import datetime

from domain.audit import AuditEntry
from domain.executions import FINAL, ExecutionStatus
from domain.json_data import JsonObject

EXECUTED = "workflow.executed"
"""The action of every end; `details.status` says which."""


def end_action(status: ExecutionStatus) -> str:
    """Name an execution's end as entries did that hang on the execution itself."""
    return f"execution.{status.value.lower()}"


STATUS_BY_END = {end_action(status): status for status in sorted(FINAL)}
END_ACTIONS = frozenset(STATUS_BY_END)


def make_end_entry(
    execution_id: str,
    workflow_id: str,
    *,
    status: ExecutionStatus,
    at: datetime,
    user_id: str | None,
    error: str | None = None,
    error_code: str | None = None,
    added_by: str | None = None,
) -> AuditEntry:
    """Make the entry of an execution's end.

    Args:
        user_id: who asked for the execution.
        added_by: who adds it afterwards, where it was missing.
    """
    details: JsonObject = {"execution_id": execution_id, "status": status.value}
    if error_code is not None:
        details["error_code"] = error_code
    if added_by is not None:
        details["added_by"] = added_by
    return AuditEntry(
        action=EXECUTED,
        resource_type="workflow",
        resource_id=workflow_id,
        execution_id=execution_id,
        success=status is ExecutionStatus.COMPLETED,
        timestamp=at,
        user_id=user_id,
        details=details,
        error_message=error,
    )
