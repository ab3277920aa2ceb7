"""Workflows: made and changed by versions, checked with all problems at once."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from api.cursors import Cursor, read_cursor, scope_of, unreadable_cursor, write_cursor
from api.definitions import (
    Body,
    Checked,
    check_document,
    request_schema,
    wants_yaml,
    yaml_answer,
    yaml_response,
)
from api.idempotency import KeyHeader
from api.preconditions import IfMatch, etag, expected_version
from api.routes.workflow_documents import (
    Recent,
    Statistics,
    Validation,
    Version,
    VersionDetail,
    VersionList,
    WorkflowDetail,
    WorkflowList,
    WorkflowSummary,
    show_problems,
)
from domain.catalog import Workflow
from domain.errors import ErrorCode
from domain.executions import ExecutionStatus
from domain.json_data import JsonObject
from domain.permissions import Permission
from domain.text import name_key
from domain.unreadable import WorkflowUnreadable
from domain.workflows import WorkflowInvalid
from persistence.idempotency import claim_key, hash_content, keep_answer
from persistence.missing_sources import find_missing_sources
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
_OPERATION = "workflows"
Reader = Annotated[Access, Depends(allow(Permission.WORKFLOWS_READ))]
Writer = Annotated[Access, Depends(allow(Permission.WORKFLOWS_WRITE))]
Reference = Annotated[
    Text, Path(max_length=200, description="Id, slug or name.", examples=["enterprise-lead-search"])
]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="A version's number.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Draft = Annotated[
    bool, Query(description="Save it even with problems; it cannot be executed then.")
]


@router.post("", status_code=201, openapi_extra=_BODY)
def create_workflow(
    access: Writer,
    body: Body,
    response: Response,
    draft: Draft = False,
    key: KeyHeader = None,
) -> WorkflowDetail:
    """Make a workflow from its definition, JSON or YAML; all problems are told at once."""
    document = body.parse()
    with access.open() as session:
        content: JsonObject = {"document": document, "draft": draft}
        made = None if key is None else claim_key(session, _OPERATION, key, hash_content(content))
        if made is None:
            workflow = _add(session, document, draft=draft)
            if key is not None:
                keep_answer(session, _OPERATION, key, {"id": workflow.id})
        else:
            workflow = get_workflow(session, str(made["id"]))
        shown = _show(session, workflow, response)
    response.headers["Location"] = f"/api/v1/workflows/{workflow.id}"
    return shown


@router.post("/validate", openapi_extra=request_schema(anything=True))
def validate_workflow(access: Reader, body: Body) -> Validation:
    """Say all that is wrong with a definition. Nothing is written."""
    body.check_sent()
    try:
        document = body.parse()
    except WorkflowUnreadable as unreadable:
        return Validation(valid=False, problems=show_problems(unreadable.problems), warnings=[])
    with access.open() as session:
        checked = check_document(session, document)
        missing = find_missing_sources(session, checked.stored)
    return Validation(
        valid=not checked.problems,
        problems=show_problems(checked.problems),
        warnings=show_problems(missing),
    )


@router.get("")
def list_workflows(
    access: Reader,
    sort: Annotated[Literal["name", "id"], Query(description="`id`: oldest first.")] = "name",
    archived: Annotated[
        Literal["false", "true", "all"], Query(description="Archived ones only, or too.")
    ] = "false",
    limit: Limit = 100,
    cursor: Annotated[Cursor | None, Query()] = None,
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
        checked = check_document(session, body.parse())
        if not draft:
            checked.get_definition()
        _check_same_name(checked, workflow)
        # Last, as RFC 9110 (13.2.1) has it: what would be refused anyway is no lost update.
        expected = expected_version(if_match, current=workflow.newest_version)
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
        problems=show_problems(found.problems),
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
            duration_p50_s=_round(recent.duration_p50_s),
            duration_p95_s=_round(recent.duration_p95_s),
            tokens_used=recent.tokens_used,
            cost_usd=f"{recent.cost:.8f}",
        ),
    )


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _add(session: OrgSession, document: JsonObject, *, draft: bool) -> Workflow:
    checked = check_document(session, document)
    if not draft:
        checked.get_definition()
    return add_workflow(
        session,
        checked.stored,
        name=checked.get_name(),
        slug=checked.slug,
        description=checked.description,
        problems=checked.problems,
    )


def _show(session: OrgSession, workflow: Workflow, response: Response) -> WorkflowDetail:
    response.headers["ETag"] = etag(workflow.newest_version)
    newest = get_version(session, workflow.id, version=workflow.newest_version)
    missing = find_missing_sources(session, newest.definition)
    return WorkflowDetail.of(workflow, newest, missing=missing)


def _check_same_name(checked: Checked, workflow: Workflow) -> None:
    # Another name is another workflow, even where both names become one slug.
    if name_key(checked.get_name()) != name_key(workflow.name):
        raise WorkflowInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/name",
            f"A new version cannot give the workflow another name than `{workflow.name}`.",
            "Keep the name, or make another workflow.",
        )
