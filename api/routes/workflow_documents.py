"""How workflows, their versions and their statistics are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.cursors import EXAMPLE_CURSOR
from api.definitions import EXAMPLE_DEFINITION
from api.problems import ProblemPart
from domain.catalog import VersionSummary, Workflow, WorkflowVersion
from domain.errors import Problem


class WorkflowSummary(BaseModel):
    """A workflow with its counters. They count executions that have ended."""

    id: str = Field(examples=["wf_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    name: str = Field(examples=["Enterprise lead search"])
    slug: str = Field(examples=["enterprise-lead-search"])
    description: str = Field(examples=["Finds and qualifies leads for a request."])
    version: int = Field(description="The version that runs: the newest without problems.")
    newest_version: int = Field(description="The last one that was saved, drafts too.")
    is_draft: bool = Field(
        description="The newest version has problems, and does not run.", examples=[False]
    )
    is_runnable: bool = Field(description="Some version runs, and it is not archived.")
    execution_count: int
    success_count: int
    failure_count: int
    cancelled_count: int
    success_rate: float | None = Field(description="0 to 1; `null` before the first one ended.")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = Field(examples=[None])

    @classmethod
    def fields_of(cls, workflow: Workflow) -> dict[str, Any]:
        """Give the fields of a workflow."""
        count = workflow.execution_count
        return {
            "id": workflow.id,
            "name": workflow.name,
            "slug": workflow.slug,
            "description": workflow.description,
            "version": workflow.version,
            "newest_version": workflow.newest_version,
            "is_draft": workflow.draft_version is not None,
            "is_runnable": workflow.is_runnable,
            "execution_count": count,
            "success_count": workflow.success_count,
            "failure_count": workflow.failure_count,
            "cancelled_count": workflow.cancelled_count,
            "success_rate": round(workflow.success_count / count, 6) if count else None,
            "created_at": workflow.created_at,
            "updated_at": workflow.updated_at,
            "archived_at": workflow.archived_at,
        }


class WorkflowDetail(WorkflowSummary):
    """A workflow with its newest version."""

    definition: dict[str, Any] = Field(
        description="The newest version, defaults written out.", examples=[EXAMPLE_DEFINITION]
    )
    problems: list[ProblemPart] = Field(
        description="What keeps the newest version from running.", examples=[[]]
    )
    warnings: list[ProblemPart] = Field(
        description="Connectors and data sets that it reads from and that are not there now: "
        "executions are refused.",
        examples=[[]],
    )

    @classmethod
    def of(
        cls, workflow: Workflow, newest: WorkflowVersion, *, missing: Sequence[Problem]
    ) -> "WorkflowDetail":
        """Show a workflow."""
        return cls(
            **cls.fields_of(workflow),
            definition=newest.definition,
            problems=show_problems(newest.problems),
            warnings=show_problems(missing),
        )


class WorkflowList(BaseModel):
    """One page of workflows."""

    items: list[WorkflowSummary]
    next_cursor: str | None = Field(
        description="`null` on the last page.", examples=[EXAMPLE_CURSOR]
    )


class Validation(BaseModel):
    """What is wrong with a definition."""

    valid: bool = Field(examples=[False])
    problems: list[ProblemPart]
    warnings: list[ProblemPart] = Field(
        description="Connectors and data sets that it reads from and that are not there: it can be "
        "saved, and not run.",
        examples=[[]],
    )


class Version(BaseModel):
    """One version of a workflow, for lists."""

    version: int = Field(examples=[3])
    is_draft: bool
    problem_count: int
    created_by: str | None = Field(examples=["user_anna"])
    created_at: datetime

    @classmethod
    def of(cls, found: VersionSummary) -> "Version":
        """Show a version."""
        return cls(
            version=found.version,
            is_draft=found.problem_count > 0,
            problem_count=found.problem_count,
            created_by=found.created_by,
            created_at=found.created_at,
        )


class VersionList(BaseModel):
    """One page of versions, the newest first."""

    items: list[Version]
    next_before: int | None = Field(
        description="`before` of the next page; `null` on the last.", examples=[2]
    )


class VersionDetail(BaseModel):
    """One version of a workflow, whole."""

    version: int = Field(examples=[3])
    definition: dict[str, Any] = Field(examples=[EXAMPLE_DEFINITION])
    problems: list[ProblemPart]
    created_by: str | None = Field(examples=["user_anna"])
    created_at: datetime


class Recent(BaseModel):
    """The ended ones among the newest 1,000 executions."""

    count: int
    duration_p50_s: float | None
    duration_p95_s: float | None
    tokens_used: int
    cost_usd: str = Field(examples=["0.01250000"])


class Statistics(BaseModel):
    """How a workflow's executions went."""

    execution_count: int
    success_count: int
    failure_count: int
    cancelled_count: int
    success_rate: float | None
    pending_count: int
    running_count: int
    paused_count: int
    recent: Recent


def show_problems(problems: Sequence[Problem]) -> list[ProblemPart]:
    """Show what is wrong with a definition."""
    return [ProblemPart.model_validate(problem.as_json()) for problem in problems]
