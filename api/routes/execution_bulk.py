"""Many executions of one workflow in one request."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, Field, ValidationError
from typeid import TypeID

from api.access import Access, allow
from api.request_models import RequestModel
from api.routes.execution_documents import Batch
from api.routes.execution_wishes import (
    MAX_BATCH,
    Deadline,
    Input,
    LabelPair,
    Labels,
    Name,
    Priority,
    Version,
    WorkflowReference,
    read_label_pairs,
)
from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.inputs import as_input, find_input_problems
from domain.permissions import Permission
from persistence.execution_intake import ExecutionWish, add_batch

MAX_BULK_BYTES = 64 * 1024 * 1024
"""Largest body of a bulk request; all others have the general limit."""

_MAX_PROBLEMS = 1_000
_JSON = "application/json"
_NDJSON = "application/x-ndjson"

router = APIRouter()
Runner = Annotated[Access, Depends(allow(Permission.EXECUTIONS_EXECUTE))]


class BatchInvalid(InvalidInput):
    """A batch that is refused whole."""

    code = ErrorCode.REQUEST_INVALID
    subject = "batch"


class BatchTooLarge(TenantryError):
    """A bulk request's body is larger than any that is read."""

    code = ErrorCode.REQUEST_TOO_LARGE

    def __init__(self) -> None:
        super().__init__(
            f"The body is larger than {MAX_BULK_BYTES // 1024**2} MB.",
            hint="Send the inputs in several requests with the same `batch_id`.",
        )


class BatchTypeUnsupported(TenantryError):
    """A batch comes in a form that nobody reads."""

    code = ErrorCode.MEDIA_TYPE_UNSUPPORTED

    def __init__(self) -> None:
        super().__init__(
            "The body is neither JSON nor NDJSON.",
            hint=f"Send it with `Content-Type: {_JSON}` or `Content-Type: {_NDJSON}`.",
        )


class BatchRequest(RequestModel):
    """Executions to queue together, all or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workflow_id": "lead-generation",
                    "inputs": ["Find leads in Ohio", {"text": "Find leads in Utah"}],
                    "labels": {"campaign": "spring"},
                }
            ]
        },
    )

    workflow_id: WorkflowReference
    inputs: list[Input] = Field(min_length=1, max_length=MAX_BATCH)
    version: Version = None
    priority: Priority = 3
    deadline: Deadline = None
    labels: Labels = Field(default_factory=dict[str, str])
    batch_id: Name | None = Field(
        default=None, description="Without it, a new one. One that is there already grows."
    )


class BatchQuery(RequestModel):
    """What a bulk request says outside its body; all but `execution_ids` for NDJSON only."""

    workflow_id: WorkflowReference | None = None
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    priority: int = Field(default=3, ge=1, le=5)
    deadline: Deadline = None
    label: list[LabelPair] = Field(default_factory=list[LabelPair], max_length=20)
    batch_id: Name | None = None
    execution_ids: bool = Field(default=False, description="Answer the executions' ids, too.")


async def read_body(request: Request) -> bytes:
    """Read a body up to the limit of bulk requests.

    Raises:
        BatchTooLarge: there is more.
    """
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > MAX_BULK_BYTES:
            raise BatchTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": BatchRequest.model_json_schema()},
            _NDJSON: {
                "schema": {"type": "string", "minLength": 1},
                "example": '"Find leads in Ohio"\n{"text": "Find leads in Utah"}\n',
            },
        },
    }
}


# The body is read here and not by FastAPI, which would parse 64 MB in the event loop.
@router.post("/bulk", status_code=202, openapi_extra=_BODY)
def create_batch(
    access: Runner,
    body: Annotated[bytes, Depends(read_body)],
    query: Annotated[BatchQuery, Query()],
    request: Request,
) -> Batch:
    """Queue up to 10,000 executions of one workflow, all or none.

    As JSON, or as NDJSON with one input a line and the rest in the query.
    """
    wanted = _read_request(request.headers.get("content-type", ""), body, query)
    _check_inputs(wanted.inputs)
    batch_id = wanted.batch_id or str(TypeID(prefix="batch"))
    with access.open() as session:
        ids = add_batch(
            session,
            ExecutionWish(
                workflow=wanted.workflow_id,
                version=wanted.version,
                priority=wanted.priority,
                deadline=wanted.deadline,
                labels=wanted.labels,
            ),
            [as_input(given) for given in wanted.inputs],
            batch_id=batch_id,
        )
    return Batch(
        batch_id=batch_id,
        count=len(ids),
        execution_ids=[*ids] if query.execution_ids else None,
    )


def _read_request(content_type: str, body: bytes, query: BatchQuery) -> BatchRequest:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _NDJSON:
        given: object = {
            "inputs": _read_lines(body),
            "labels": read_label_pairs(query.label),
            **query.model_dump(
                include={"workflow_id", "version", "priority", "deadline", "batch_id"},
                exclude_none=True,
            ),
        }
        where = "query"
    elif media_type == _JSON:
        given, where = _read_json(body, "The body"), "body"
        if isinstance(given, _Unreadable):
            raise BatchInvalid([given.as_problem("")])
    else:
        raise BatchTypeUnsupported
    try:
        return BatchRequest.model_validate(given)
    except ValidationError as error:
        details: list[dict[str, Any]] = [
            dict(detail) for detail in error.errors(include_url=False, include_input=False)
        ]
        for detail in details:
            is_input = detail["loc"][:1] == ("inputs",)
            detail["loc"] = ("body" if is_input else where, *detail["loc"])
        raise RequestValidationError(details) from None


def _check_inputs(inputs: list[Any]) -> None:
    problems: list[Problem] = []
    for number, given in enumerate(inputs):
        pointer = f"/inputs/{number}"
        if isinstance(given, _Unreadable):
            problems.append(given.as_problem(pointer))
        else:
            problems += find_input_problems(given, pointer=pointer)
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        raise BatchInvalid(problems[:_MAX_PROBLEMS])


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for what is no JSON, so that the problems of all lines come together."""

    what: str

    def as_problem(self, pointer: str) -> Problem:
        return Problem(
            ErrorCode.REQUEST_INVALID,
            pointer,
            f"{self.what} is not JSON in UTF-8, or is nested too deep.",
            "Write it with a JSON library.",
        )


def _read_lines(body: bytes) -> list[object]:
    inputs: list[object] = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        if len(inputs) == MAX_BATCH:
            raise BatchInvalid.one(
                ErrorCode.FIELD_INVALID,
                "/inputs",
                f"There are more than {MAX_BATCH:,} inputs.",
                "Send them in several requests with the same `batch_id`.",
            )
        inputs.append(_read_json(line, f"Line {number}"))
    return inputs


def _read_json(given: bytes, what: str) -> object:
    try:
        return cast("object", json.loads(given.decode("utf-8")))
    except (ValueError, RecursionError):
        return _Unreadable(what)
