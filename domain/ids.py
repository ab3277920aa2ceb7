"""Identifiers: TypeIDs, a prefix that says the kind and a UUIDv7 that sorts by time."""

import re
from typing import NewType

from typeid import TypeID

OrgId = NewType("OrgId", str)
UserId = NewType("UserId", str)
WorkflowId = NewType("WorkflowId", str)
ExecutionId = NewType("ExecutionId", str)
RunId = NewType("RunId", str)
AgentRunId = NewType("AgentRunId", str)
AuditId = NewType("AuditId", str)
ScheduleId = NewType("ScheduleId", str)
ConnectorId = NewType("ConnectorId", str)
TokenId = NewType("TokenId", str)

_NAMED = re.compile(r"(org|user)_[a-z0-9](?:[a-z0-9_]{0,60}[a-z0-9])?")


def new_org_id() -> OrgId:
    """Make an organization's id, `org_…`."""
    return OrgId(_new("org"))


def new_user_id() -> UserId:
    """Make a user's id, `user_…`."""
    return UserId(_new("user"))


def new_workflow_id() -> WorkflowId:
    """Make a workflow's id, `wf_…`."""
    return WorkflowId(_new("wf"))


def new_execution_id() -> ExecutionId:
    """Make an execution's id, `exec_…`."""
    return ExecutionId(_new("exec"))


def new_run_id() -> RunId:
    """Make a run's id, `run_…`."""
    return RunId(_new("run"))


def new_agent_run_id() -> AgentRunId:
    """Make an agent run's id, `arun_…`."""
    return AgentRunId(_new("arun"))


def new_audit_id() -> AuditId:
    """Make an audit row's id, `audit_…`."""
    return AuditId(_new("audit"))


def new_schedule_id() -> ScheduleId:
    """Make a schedule's id, `sched_…`."""
    return ScheduleId(_new("sched"))


def new_connector_id() -> ConnectorId:
    """Make a connector's id, `conn_…`."""
    return ConnectorId(_new("conn"))


def new_token_id() -> TokenId:
    """Make an API token's id, `tok_…`; the token itself is another matter."""
    return TokenId(_new("tok"))


def is_named_id(text: str) -> bool:
    """Say whether an operator may give this id to an organization or user by hand (`org_demo`)."""
    return _NAMED.fullmatch(text) is not None


def _new(prefix: str) -> str:
    return str(TypeID(prefix=prefix))
