"""Workflows: made and changed by versions, checked with all problems at once."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from api.cursors import MAX_CURSOR_CHARS, read_cursor, scope_of, unreadable_cursor, write_cursor
from api.definitions import (
    Body,
    Checked,
    check_document,
    request_schema,
    wants_yaml,
    yaml_answer,
    yaml_response,
)
from api.preconditions import IfMatch, etag, expected_version
from api.problems import ProblemPart
from domain.catalog import VersionSummary, Workflow, WorkflowVersion
from domain.definition_text import parse_definition
from domain.errors import ErrorCode, Problem
from domain.executions import ExecutionStatus
from domain.permissions import Permission
from domain.unreadable import WorkflowUnreadable
from domain.workflows import WorkflowInvalid
from persistence.sessions import OrgSession
from persistence.workflow_statistics import count_open, measure_recent
from persistence.workflows import (
    add_version,
    add_workflow,
    archive_workflow,
    get_version,
    get_workflow,
    list_versions,
    page_workflows,
    restore_workflow,
)

router = APIRouter(prefix="/workflows", tags=["workflows"], responses=PROBLEMS)

_BODY = request_schema()
Reader = Annotated[Access, Depends(allow(Permission.WORKFLOWS_READ))]
Writer = Annotated[Access, Depends(allow(Permission.WORKFLOWS_WRITE))]
Reference = Annotated[
    Text, Path(max_length=200, description="Id, slug or name.", examples=["enterprise-lead-search"])
]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="A version's number.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[
    Text | None, Query(max_length=MAX_CURSOR_CHARS, description="`next_cursor` of the page before.")
]
Draft = Annotated[
    bool, Query(description="Save it even with problems; it cannot be executed then.")
]


class WorkflowSummary(BaseModel):
    """A workflow with its counters. They count executions that have ended."""

    id: str = Field(examples=["wf_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    name: str = Field(examples=["Enterprise lead search"])
    slug: str = Field(examples=["enterprise-lead-search"])
    description: str
    version: int = Field(description="The version that runs: the newest without problems.")
    newest_version: int = Field(description="The last one that was saved, drafts too.")
    is_draft: bool = Field(description="The newest version has problems, and does not run.")
    is_runnable: bool = Field(description="Some version runs, and it is not archived.")
    execution_count: int
    success_count: int
    failure_count: int
    cancelled_count: int
    success_rate: float | None = Field(description="0 to 1; `null` before the first one ended.")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None

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

    definition: dict[str, Any] = Field(description="The newest version, defaults written out.")
    problems: list[ProblemPart] = Field(description="What keeps the newest version from running.")

    @classmethod
    def of(cls, workflow: Workflow, newest: WorkflowVersion) -> "WorkflowDetail":
        """Show a workflow."""
        return cls(
            **cls.fields_of(workflow),
            definition=newest.definition,
            problems=_parts(newest.problems),
        )


class WorkflowList(BaseModel):
    """One page of workflows."""

    items: list[WorkflowSummary]
    next_cursor: str | None = Field(description="`null` on the last page.")


class Validation(BaseModel):
    """What is wrong with a definition."""

    valid: bool
    problems: list[ProblemPart]


class Version(BaseModel):
    """One version of a workflow, for lists."""

    version: int
    is_draft: bool
    problem_count: int
    created_by: str | None
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
    next_before: int | None = Field(description="`before` of the next page; `null` on the last.")


class VersionDetail(BaseModel):
    """One version of a workflow, whole."""

    version: int
    definition: dict[str, Any]
    problems: list[ProblemPart]
    created_by: str | None
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


@router.post("", status_code=201, openapi_extra=_BODY)
def create_workflow(
    access: Writer, body: Body, response: Response, draft: Draft = False
) -> WorkflowDetail:
    """Make a workflow from its definition, JSON or YAML; all problems are told at once."""
    document = parse_definition(body)
    with access.open() as session:
        checked = check_document(session, document)
        if not draft:
            checked.get_definition()
        workflow = add_workflow(
            session,
            checked.stored,
            name=checked.get_name(),
            slug=checked.slug,
            description=checked.description,
            problems=checked.problems,
        )
        shown = _show(session, workflow, response)
    response.headers["Location"] = f"/api/v1/workflows/{workflow.id}"
    return shown


@router.post("/validate", openapi_extra=_BODY)
def validate_workflow(access: Reader, body: Body) -> Validation:
    """Say all that is wrong with a definition. Nothing is written."""
    try:
        document = parse_definition(body)
    except WorkflowUnreadable as unreadable:
        return Validation(valid=False, problems=_parts(unreadable.problems))
    with access.open() as session:
        checked = check_document(session, document)
    return Validation(valid=not checked.problems, problems=_parts(checked.problems))


@router.get("")
def list_workflows(
    access: Reader,
    sort: Annotated[Literal["name", "id"], Query(description="`id`: oldest first.")] = "name",
    archived: Annotated[
        Literal["false", "true", "all"], Query(description="Archived ones only, or too.")
    ] = "false",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> WorkflowList:
    """List workflows with their statistics."""
    scope = scope_of(sort, archived)
    after = None if cursor is None else read_cursor(cursor, "workflows", scope)
    if after is not None and len(after) != (2 if sort == "name" else 1):
        raise unreadable_cursor()
    with access.open() as session:
        found = page_workflows(
            session,
            sort=sort,
            after=after,
            archived=None if archived == "all" else archived == "true",
            limit=limit + 1,
        )
    page, more = found[:limit], found[limit:]
    position = (
        [page[-1].name, page[-1].id] if sort == "name" and page else [page[-1].id] if page else []
    )
    return WorkflowList(
        items=[WorkflowSummary(**WorkflowSummary.fields_of(each)) for each in page],
        next_cursor=write_cursor("workflows", scope, position) if more else None,
    )


@router.get(
    "/{ref}",
    response_model=WorkflowDetail,
    responses=yaml_answer("The workflow; as YAML its newest definition only."),
)
def read_workflow(
    access: Reader, ref: Reference, request: Request, response: Response
) -> WorkflowDetail | Response:
    """Show a workflow with its newest version, whose number is the `ETag`."""
    with access.open(snapshot=True) as session:
        shown = _show(session, get_workflow(session, ref), response)
    if wants_yaml(request):
        return yaml_response(shown.definition, {"ETag": etag(shown.newest_version)})
    return shown


@router.put("/{ref}", openapi_extra=_BODY)
def change_workflow(
    access: Writer,
    ref: Reference,
    body: Body,
    response: Response,
    draft: Draft = False,
    if_match: IfMatch = None,
) -> WorkflowDetail:
    """Add a version, made from the one that `If-Match` names; an equal one changes nothing."""
    with access.open() as session:
        workflow = get_workflow(session, ref)
        expected = expected_version(if_match, current=workflow.newest_version)
        checked = check_document(session, parse_definition(body))
        if not draft:
            checked.get_definition()
        _check_same_name(checked, workflow)
        changed = add_version(
            session,
            workflow.id,
            checked.stored,
            description=checked.description,
            problems=checked.problems,
            expected=expected,
        )
        return _show(session, changed, response)


@router.get("/{ref}/versions")
def list_workflow_versions(
    access: Reader,
    ref: Reference,
    limit: Limit = 100,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> VersionList:
    """List a workflow's versions, the newest first."""
    with access.open() as session:
        workflow = get_workflow(session, ref)
        found = list_versions(session, workflow.id, before=before, limit=limit + 1)
    page = found[:limit]
    return VersionList(
        items=[Version.of(each) for each in page],
        next_before=page[-1].version if len(found) > limit else None,
    )


@router.get(
    "/{ref}/versions/{number}",
    response_model=VersionDetail,
    responses=yaml_answer("The version; as YAML its definition only."),
)
def read_workflow_version(
    access: Reader, ref: Reference, number: Number, request: Request, response: Response
) -> VersionDetail | Response:
    """Show one version of a workflow. It never changes."""
    with access.open() as session:
        found = get_version(session, get_workflow(session, ref).id, version=number)
    if wants_yaml(request):
        return yaml_response(found.definition, {"ETag": etag(found.version)})
    response.headers["ETag"] = etag(found.version)
    return VersionDetail(
        version=found.version,
        definition=found.definition,
        problems=_parts(found.problems),
        created_by=found.created_by,
        created_at=found.created_at,
    )


@router.post("/{ref}/archive")
def archive(access: Writer, ref: Reference) -> WorkflowSummary:
    """Take a workflow out of use, with its schedules; what is queued or running goes on."""
    with access.open() as session:
        workflow = archive_workflow(session, get_workflow(session, ref).id)
    return WorkflowSummary(**WorkflowSummary.fields_of(workflow))


@router.post("/{ref}/restore")
def restore(access: Writer, ref: Reference) -> WorkflowSummary:
    """Take an archived workflow into use again; its schedules do not come back."""
    with access.open() as session:
        workflow = restore_workflow(session, get_workflow(session, ref).id)
    return WorkflowSummary(**WorkflowSummary.fields_of(workflow))


@router.get("/{ref}/statistics")
def read_statistics(access: Reader, ref: Reference) -> Statistics:
    """Tell how a workflow's executions went, and how many are on their way."""
    with access.open(snapshot=True) as session:
        workflow = get_workflow(session, ref)
        waiting = count_open(session, workflow.id)
        recent = measure_recent(session, workflow.id)
    known = WorkflowSummary.fields_of(workflow)
    return Statistics(
        execution_count=workflow.execution_count,
        success_count=workflow.success_count,
        failure_count=workflow.failure_count,
        cancelled_count=workflow.cancelled_count,
        success_rate=known["success_rate"],
        pending_count=waiting[ExecutionStatus.PENDING],
        running_count=waiting[ExecutionStatus.RUNNING],
        paused_count=waiting[ExecutionStatus.PAUSED],
        recent=Recent(
            count=recent.count,
            duration_p50_s=recent.duration_p50_s,
            duration_p95_s=recent.duration_p95_s,
            tokens_used=recent.tokens_used,
            cost_usd=f"{recent.cost:.8f}",
        ),
    )


def _show(session: OrgSession, workflow: Workflow, response: Response) -> WorkflowDetail:
    response.headers["ETag"] = etag(workflow.newest_version)
    newest = get_version(session, workflow.id, version=workflow.newest_version)
    return WorkflowDetail.of(workflow, newest)


def _check_same_name(checked: Checked, workflow: Workflow) -> None:
    # The slug is the workflow's address, in Prefect too, and is made from the name.
    if checked.slug != workflow.slug:
        raise WorkflowInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/name",
            f"A new version cannot give the workflow another name than `{workflow.name}`.",
            "Keep the name, or make another workflow.",
        )


def _parts(problems: tuple[Problem, ...]) -> list[ProblemPart]:
    return [ProblemPart.model_validate(problem.as_json()) for problem in problems]
