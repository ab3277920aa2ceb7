"""Executions: queued, listed, read, called off."""

import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from api.cursors import Cursor, read_cursor, scope_of, unreadable_cursor, write_cursor
from api.idempotency import KeyHeader
from api.intake import Intake, Requester
from api.request_models import RequestModel
from api.routes import execution_bulk, execution_output
from api.routes.execution_documents import (
    AgentAttemptDocument,
    AgentAttempts,
    ExecutionDocument,
    ExecutionOverview,
    ExecutionPage,
    Timeline,
    TimelineEntry,
)
from api.routes.execution_wishes import (
    ExecutionRequest,
    LabelPair,
    Moment,
    Name,
    WorkflowReference,
    read_label_pairs,
)
from domain.errors import ErrorCode, InvalidInput
from domain.execution_queries import (
    ExecutionFilter,
    ExecutionSummary,
    Order,
    Position,
    Total,
    make_timeline,
)
from domain.executions import ExecutionStatus, Trigger
from domain.ids import ExecutionId, WorkflowId
from domain.inputs import ExecutionInputInvalid, as_input, find_input_problems
from domain.permissions import Permission
from persistence.execution_cancel import request_cancel
from persistence.execution_details import (
    get_record,
    list_attempts,
    list_audited,
    note_output_read,
)
from persistence.execution_intake import SingleWish
from persistence.execution_lists import count_executions, get_summary, list_summaries
from persistence.text_limits import check_long_text, is_long_text
from persistence.workflows import get_workflow

router = APIRouter(prefix="/executions", tags=["executions"], responses=PROBLEMS)
router.include_router(execution_bulk.router)
router.include_router(execution_output.router)

Reader = Annotated[Access, Depends(allow(Permission.EXECUTIONS_READ))]
Runner = Annotated[Access, Depends(allow(Permission.EXECUTIONS_EXECUTE))]
Id = Annotated[Text, Path(max_length=100, examples=["exec_01jd3m3k7e9c5v2x8w4z6a1b0d"])]
_EXECUTION_ID = re.compile("exec_[0-9a-z]{26}")


class IdempotencyKeysDiffer(InvalidInput):
    """A request names two keys."""

    subject = "request"


class ExecutionQuery(RequestModel):
    """Which executions to list."""

    workflow_id: WorkflowReference | None = None
    status: list[ExecutionStatus] = Field(
        default_factory=list[ExecutionStatus],
        max_length=12,
        description="Repeat it for several.",
    )
    trigger: Trigger | None = None
    error_code: Name | None = Field(default=None, examples=["agent.timed_out"])
    created_after: Moment | None = Field(default=None, description="Created then or later.")
    created_before: Moment | None = Field(default=None, description="Created earlier than then.")
    requested_by: Name | None = Field(default=None, description="A user's id.")
    batch_id: Name | None = None
    label: list[LabelPair] = Field(
        default_factory=list[LabelPair],
        max_length=20,
        description="`key:value`; repeat it for several, which must all be there.",
    )
    order: Order = Order.NEWEST
    limit: int = Field(default=50, ge=1, le=200)
    cursor: Cursor | None = None
    count: bool = Field(default=False, description="Say how many there are, too.")


@router.post("", status_code=202)
@router.post("/", status_code=202, include_in_schema=False)
async def create_execution(
    wish: ExecutionRequest,
    access: Runner,
    request: Request,
    response: Response,
    key_header: KeyHeader = None,
) -> ExecutionDocument:
    """Queue one execution of a workflow; a worker starts it as soon as it can.

    A known idempotency key answers the first execution, as it is now. With anything
    else in the request it is refused.
    """
    problems = find_input_problems(wish.input, pointer="/input")
    if problems:
        raise ExecutionInputInvalid(problems)
    if is_long_text(wish.input):
        await run_in_threadpool(_check_text, access, wish)
    key = _choose_key(wish.idempotency_key, key_header)
    intake: Intake = request.app.state.intake
    record = await intake.add(
        Requester(access.principal.org_id, access.principal.user_id, access.origin),
        SingleWish(
            workflow=wish.workflow_id,
            version=wish.version,
            priority=wish.priority,
            deadline=wish.deadline,
            labels=wish.labels,
            input_data=as_input(wish.input),
            idempotency_key=key,
        ),
    )
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{record.execution.id}"
    return ExecutionDocument.whole(record, prefect_ui_url=access.state.prefect_ui_url)


@router.get("")
@router.get("/", include_in_schema=False)
def list_executions(wanted: Annotated[ExecutionQuery, Query()], access: Reader) -> ExecutionPage:
    """List executions, without what went in and came out.

    Pages stay as they are while executions are added. Filters may be combined.
    """
    with access.open() as session:
        narrowed = _read_filter(
            wanted,
            workflow_id=get_workflow(session, wanted.workflow_id).id
            if wanted.workflow_id
            else None,
        )
        scope = scope_of(wanted.order, narrowed)
        after = _read_position(wanted.cursor, scope) if wanted.cursor is not None else None
        # One more than asked for tells whether there is another page.
        found = list_summaries(
            session, narrowed, order=wanted.order, after=after, limit=wanted.limit + 1
        )
        total = count_executions(session, narrowed) if wanted.count else None
    return _page_of(found[: wanted.limit], scope, has_more=len(found) > wanted.limit, total=total)


@router.get("/{execution_id}")
def read_execution(execution_id: Id, access: Reader) -> ExecutionDocument:
    """Read an execution whole. If it has an output, the audit trail notes that you read it."""
    with access.open() as session:
        record = get_record(session, ExecutionId(execution_id))
        if record.execution.output is not None or record.execution.agent_results:
            note_output_read(session, record.execution.id, "application/json")
    return ExecutionDocument.whole(record, prefect_ui_url=access.state.prefect_ui_url)


@router.get("/{execution_id}/agents")
def list_agent_attempts(execution_id: Id, access: Reader) -> AgentAttempts:
    """List every attempt of every agent: when, how it ended, what it spent."""
    with access.open() as session:
        summary = get_summary(session, ExecutionId(execution_id))
        attempts = list_attempts(session, summary.id)
    return AgentAttempts(items=[AgentAttemptDocument.of(attempt) for attempt in attempts])


@router.get("/{execution_id}/timeline")
def read_timeline(execution_id: Id, access: Reader) -> Timeline:
    """List what happened to an execution, in order of time."""
    with access.open(snapshot=True) as session:
        summary = get_summary(session, ExecutionId(execution_id))
        attempts = list_attempts(session, summary.id)
        audited = list_audited(session, summary.id)
    events = make_timeline(summary, attempts, audited)
    return Timeline(items=[TimelineEntry.of(event) for event in events])


@router.post(
    "/{execution_id}/cancel",
    status_code=202,
    responses={200: {"model": ExecutionDocument, "description": "It was cancelled before."}},
)
def cancel_execution(execution_id: Id, access: Runner, response: Response) -> ExecutionDocument:
    """Cancel an execution. One that waits ends at once, one that runs as soon as it can.

    One that is cancelled already is answered with 200; one that has completed or failed is refused.
    """
    with access.open() as session:
        cancellation = request_cancel(session, ExecutionId(execution_id))
    if cancellation.was_cancelled:
        response.status_code = HTTPStatus.OK
    return ExecutionDocument.whole(cancellation.record, prefect_ui_url=access.state.prefect_ui_url)


def _choose_key(in_body: str | None, in_header: str | None) -> str | None:
    if in_body is not None and in_header is not None and in_body != in_header:
        raise IdempotencyKeysDiffer.one(
            ErrorCode.FIELD_INVALID,
            "/header/Idempotency-Key",
            "The body and the header `Idempotency-Key` give different keys.",
            "Send the key in one of the two places.",
        )
    return in_body if in_body is not None else in_header


def _read_filter(wanted: ExecutionQuery, *, workflow_id: WorkflowId | None) -> ExecutionFilter:
    return ExecutionFilter(
        workflow_id=workflow_id,
        statuses=frozenset(wanted.status),
        trigger=wanted.trigger,
        error_code=wanted.error_code,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
        requested_by=wanted.requested_by,
        batch_id=wanted.batch_id,
        labels=tuple(sorted(read_label_pairs(wanted.label).items())),
    )


def _read_position(cursor: str, scope: str) -> Position:
    parts = read_cursor(cursor, "executions", scope)
    if len(parts) != 2 or not _EXECUTION_ID.fullmatch(parts[1]):
        raise unreadable_cursor()
    try:
        created_at = datetime.fromisoformat(parts[0])
    except ValueError:
        raise unreadable_cursor() from None
    if created_at.tzinfo is None:
        raise unreadable_cursor()
    return Position(created_at, ExecutionId(parts[1]))


def _page_of(
    found: list[ExecutionSummary], scope: str, *, has_more: bool, total: Total | None
) -> ExecutionPage:
    next_cursor = None
    if has_more:
        last = found[-1]
        next_cursor = write_cursor("executions", scope, (last.created_at.isoformat(), last.id))
    return ExecutionPage(
        items=[ExecutionOverview.of(summary) for summary in found],
        next_cursor=next_cursor,
        total=total.count if total else None,
        total_is_estimate=total.is_estimate if total else None,
    )


def _check_text(access: Access, wish: ExecutionRequest) -> None:
    with access.open() as session:
        check_long_text(session, wish.workflow_id, wish.input, version=wish.version)
