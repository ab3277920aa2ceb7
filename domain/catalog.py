"""Organizations, and what they keep besides executions: workflows and schedules."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.ids import OrgId, ScheduleId, WorkflowId
from domain.json_data import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant."""

    id: OrgId
    name: str
    slug: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow and its statistics. Counts are of finished executions."""

    id: WorkflowId
    org_id: OrgId
    name: str
    slug: str
    description: str
    version: int
    execution_count: int
    success_count: int
    failure_count: int
    cancelled_count: int
    created_at: datetime
    updated_at: datetime
    prefect_deployment_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron schedule of a workflow, with the input of its executions."""

    id: ScheduleId
    org_id: OrgId
    workflow_id: WorkflowId
    cron: str
    timezone: str
    input_data: JsonObject
    created_by: str | None
    created_at: datetime
