"""Organizations, and what they keep besides executions: workflows and schedules."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from domain.errors import Problem
from domain.ids import OrgId, ScheduleId, UserId, WorkflowId
from domain.json_data import JsonObject
from domain.permissions import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant."""

    id: OrgId
    name: str
    slug: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody in an organization."""

    user_id: UserId
    name: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentType:
    """A kind of agent that workflows may use, as the catalogue describes it."""

    type: str
    description: str
    config_schema: JsonObject
    """JSON Schema (2020-12) of the agent's config."""
    example: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow and its statistics. Counts are of finished executions."""

    id: WorkflowId
    org_id: OrgId
    name: str
    slug: str
    description: str
    version: int
    """The version that runs: the newest without problems, if there is one."""
    execution_count: int
    success_count: int
    failure_count: int
    cancelled_count: int
    created_at: datetime
    updated_at: datetime
    prefect_deployment_id: UUID | None
    draft_version: int | None = None
    """The newest version, where that has problems and so cannot run."""
    archived_at: datetime | None = None

    @property
    def newest_version(self) -> int:
        """Give the number of the last version that was saved, drafts too."""
        return self.draft_version or self.version

    @property
    def is_runnable(self) -> bool:
        """Say whether it can be executed: one of its versions is no draft, and it is in use."""
        return self.archived_at is None and self.draft_version != self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSummary:
    """One version of a workflow, for lists; one with problems is a draft."""

    version: int
    problem_count: int
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowVersion:
    """One version of a workflow, whole."""

    version: int
    definition: JsonObject
    problems: tuple[Problem, ...]
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentExecutions:
    """What the newest finished executions of a workflow took. Seconds; cost in USD."""

    count: int
    duration_p50_s: float | None
    duration_p95_s: float | None
    tokens_used: int
    cost: Decimal


class PausedBy(StrEnum):
    """Who paused a schedule, where it was no user of ours."""

    PREFECT = "prefect"
    """Its own switch in Prefect."""
    PREFECT_DEPLOYMENT = "prefect deployment"
    """Its workflow's deployment is paused in Prefect."""


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
    paused_at: datetime | None = None
    paused_by: str | None = None
    """A user's id, or one of `PausedBy`."""
