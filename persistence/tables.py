"""The tables, as the migrations made them. A test compares the two."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Identity,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from domain.json_data import JsonObject, JsonValue


class Table(DeclarativeBase):
    """Base of all rows."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this name from the class
        str: Text,
        datetime: DateTime(timezone=True),
        bytes: LargeBinary,
        JsonObject: JSONB(none_as_null=True),
        Decimal: Numeric(18, 8),
        dict[str, Any]: JSONB(none_as_null=True),
        list[JsonValue]: JSONB(none_as_null=True),
    }


class OrganizationRow(Table):
    __tablename__ = "organizations"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    slug: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    weight: Mapped[float] = mapped_column(server_default="1")
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    paused_at: Mapped[datetime | None]
    queue_clock: Mapped[float] = mapped_column(server_default="0")
    queue_taken: Mapped[int] = mapped_column(BigInteger, server_default="0")


class UserRow(Table):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    platform_admin: Mapped[bool] = mapped_column(server_default="false")


class ApiTokenRow(Table):
    __tablename__ = "api_tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    user_id: Mapped[str]
    name: Mapped[str]
    prefix: Mapped[str]
    hash: Mapped[bytes]
    parent_id: Mapped[str | None]
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class AgentTypeRow(Table):
    __tablename__ = "agent_types"
    type: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str]
    config_schema: Mapped[dict[str, Any]]
    example: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MembershipRow(Table):
    __tablename__ = "memberships"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]


class ConnectorRow(Table):
    __tablename__ = "connectors"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    name: Mapped[str]
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DatasetRow(Table):
    __tablename__ = "datasets"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]
    row_count: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WorkflowRow(Table):
    __tablename__ = "workflows"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    name: Mapped[str]
    slug: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    version: Mapped[int]
    execution_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    success_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failure_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cancelled_count: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    prefect_deployment_id: Mapped[UUID | None]
    # What was last published to Prefect, so that an unchanged workflow costs no call.
    published: Mapped[dict[str, Any] | None]
    archived_at: Mapped[datetime | None]
    draft_version: Mapped[int | None]
    max_running: Mapped[int | None]
    max_batch: Mapped[int | None]
    paused_at: Mapped[datetime | None]


class WorkflowVersionRow(Table):
    __tablename__ = "workflow_versions"
    org_id: Mapped[str]
    workflow_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    definition: Mapped[dict[str, Any]]
    agent_types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    problems: Mapped[list[JsonValue] | None]


class ScheduleRow(Table):
    __tablename__ = "schedules"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    workflow_id: Mapped[str]
    cron: Mapped[str]
    timezone: Mapped[str]
    input_data: Mapped[dict[str, Any]]
    created_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]


class PauseRow(Table):
    __tablename__ = "pauses"
    scope: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[datetime] = mapped_column(server_default=func.now())
    paused_by: Mapped[str | None]
    reason: Mapped[str | None]


class RunRow(Table):
    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    workflow_id: Mapped[str]
    workflow_version: Mapped[int]
    worker: Mapped[str]
    lease_token: Mapped[UUID]
    lease_expires_at: Mapped[datetime]
    prefect_flow_run_id: Mapped[UUID | None]
    prefect_state_id: Mapped[UUID | None]
    prefect_state_type: Mapped[str | None]
    prefect_state_name: Mapped[str | None]
    prefect_state_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    closed_at: Mapped[datetime | None]
    size: Mapped[int] = mapped_column(server_default="1")
    # The state that Prefect shall have it in from then on.
    closed_as: Mapped[str | None]
    asked_at: Mapped[datetime | None]
    loss_cause: Mapped[str | None]


class RunStateRow(Table):
    __tablename__ = "run_states"
    state_id: Mapped[UUID] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    run_id: Mapped[str]
    type: Mapped[str]
    name: Mapped[str]
    at: Mapped[datetime]


class ExecutionRow(Table):
    __tablename__ = "executions"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    workflow_id: Mapped[str]
    workflow_version: Mapped[int]
    status: Mapped[str] = mapped_column(server_default="PENDING")
    trigger: Mapped[str]
    input_data: Mapped[dict[str, Any]]
    output: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    error_hint: Mapped[str | None]
    agent_results: Mapped[dict[str, Any] | None]
    execution_graph: Mapped[dict[str, Any] | None]
    tokens_used: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[Decimal] = mapped_column(server_default="0")
    duration_seconds: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    run_id: Mapped[str | None]
    requested_by: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="3")
    attempt: Mapped[int] = mapped_column(server_default="1")
    lease_token: Mapped[UUID | None]
    cancel_requested_at: Mapped[datetime | None]
    replay_of: Mapped[str | None]
    prefect_state_id: Mapped[UUID | None]
    prefect_state_at: Mapped[datetime | None]
    labels: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    batch_id: Mapped[str | None]
    deadline: Mapped[datetime | None]
    run_size_limit: Mapped[int | None]
    is_isolated: Mapped[bool] = mapped_column(server_default="false")
    requeued_at: Mapped[datetime | None]
    waited_seconds: Mapped[float] = mapped_column(server_default="0")


class IsolationRow(Table):
    """An execution that is carried in a process of its own, until it is final."""

    __tablename__ = "isolations"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    execution_id: Mapped[str] = mapped_column(primary_key=True)


class ExecutionLabelRow(Table):
    """One of an execution's `labels`. Triggers keep these rows."""

    __tablename__ = "execution_labels"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(primary_key=True)
    execution_id: Mapped[str] = mapped_column(primary_key=True)


class AgentRunRow(Table):
    __tablename__ = "agent_runs"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    execution_id: Mapped[str]
    run_id: Mapped[str]
    agent_name: Mapped[str]
    attempt: Mapped[int]
    status: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    records: Mapped[list[JsonValue] | None]
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    error_hint: Mapped[str | None]
    retryable: Mapped[bool] = mapped_column(server_default="false")
    tokens_used: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cost: Mapped[Decimal] = mapped_column(server_default="0")
    duration_seconds: Mapped[float]
    started_at: Mapped[datetime]
    completed_at: Mapped[datetime]


class AuditRow(Table):
    __tablename__ = "audit_logs"
    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    user_id: Mapped[str | None]
    action: Mapped[str]
    resource_type: Mapped[str]
    resource_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    ip_address: Mapped[str | None]
    user_agent: Mapped[str | None]
    success: Mapped[bool]
    error_message: Mapped[str | None]
    timestamp: Mapped[datetime]
    execution_id: Mapped[str | None]
    format: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    seq: Mapped[int] = mapped_column(BigInteger)
    prev_hash: Mapped[bytes]
    hash: Mapped[bytes]


class AuditHeadRow(Table):
    __tablename__ = "audit_heads"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes]


class EventRow(Table):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    org_id: Mapped[str]
    seq: Mapped[int | None] = mapped_column(BigInteger)
    execution_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    size: Mapped[int]
    workflow_ids: Mapped[list[str]] = mapped_column(ARRAY(Text))
    statuses: Mapped[list[str]] = mapped_column(ARRAY(Text))
    at: Mapped[datetime]


class DriftRow(Table):
    __tablename__ = "drift_log"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    org_id: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    here: Mapped[str]
    there: Mapped[str]
    action: Mapped[str]
    is_repaired: Mapped[bool]
    found_at: Mapped[datetime] = mapped_column(server_default=func.now())


class StewardRow(Table):
    __tablename__ = "steward_status"
    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    leader: Mapped[str | None]
    leading_since: Mapped[datetime | None]
    round_at: Mapped[datetime | None]
    round_seconds: Mapped[float | None]
    checked_at: Mapped[datetime | None]
    check_seconds: Mapped[float | None]
    found: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    repaired: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    left_over: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    lost_workers: Mapped[int] = mapped_column(BigInteger, server_default="0")
    troubles: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class IdempotencyKeyRow(Table):
    __tablename__ = "idempotency_keys"
    org_id: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes]
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
