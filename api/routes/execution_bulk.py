"""Many executions of one workflow in one request."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, Field, ValidationError
from typeid import TypeID

from api.access import Access, allow
from api.bulk_bodies import read_document, read_lines
from api.bulk_slots import bulk_slots_of
from api.idempotency import KeyHeader
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
from domain.errors import ErrorCode, TenantryError
from domain.ids import ExecutionId
from domain.json_data import JsonObject
from domain.permissions import Permission
from persistence.execution_batches import add_encoded_batch, list_batch_part
from persistence.execution_targets import ExecutionWish
from persistence.idempotency import claim_key, hash_content, keep_answer
from persistence.sessions import OrgSession

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_OPERATION = "executions.bulk"

router = APIRouter()
Runner = Annotated[Access, Depends(allow(Permission.EXECUTIONS_EXECUTE))]


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


# The body is read here and not by FastAPI, which would parse all of it at once.
@router.post("/bulk", status_code=202, openapi_extra=_BODY)
async def create_batch(
    access: Runner,
    query: Annotated[BatchQuery, Query()],
    request: Request,
    key: KeyHeader = None,
) -> Batch:
    """Queue up to 10,000 executions of one workflow, all or none.

    As JSON (up to 4 MB), or as NDJSON (up to 64 MB) with one input a line and the rest in the
    query. Two such requests are read at a time, one of each organization; others wait.
    """
    async with bulk_slots_of(request).hold(access.principal.org_id):
        wanted = await _read_request(request, query)
        return await run_in_threadpool(_write, access, wanted, query, key)


def _write(access: Access, wanted: BatchRequest, query: BatchQuery, key: str | None) -> Batch:
    with access.open() as session:
        made = None if key is None else claim_key(session, _OPERATION, key, _hash(wanted))
        if made is None:
            made = _add(session, wanted)
            if key is not None:
                keep_answer(session, _OPERATION, key, made)
        batch_id = str(made["batch_id"])
        ids = None
        if query.execution_ids:
            first, last = ExecutionId(str(made["first"])), ExecutionId(str(made["last"]))
            ids = list_batch_part(session, batch_id, first, last)
    return Batch(
        batch_id=batch_id, count=cast(int, made["count"]), execution_ids=[*ids] if ids else None
    )


def _hash(wanted: BatchRequest) -> bytes:
    fields = wanted.model_dump(mode="json", exclude={"inputs"})
    return hash_content(fields, wanted.inputs)


def _add(session: OrgSession, wanted: BatchRequest) -> JsonObject:
    batch_id = wanted.batch_id or str(TypeID(prefix="batch"))
    ids = add_encoded_batch(
        session,
        ExecutionWish(
            workflow=wanted.workflow_id,
            version=wanted.version,
            priority=wanted.priority,
            deadline=wanted.deadline,
            labels=wanted.labels,
        ),
        wanted.inputs,
        batch_id=batch_id,
    )
    return {"batch_id": batch_id, "count": len(ids), "first": ids[0], "last": ids[-1]}


async def _read_request(request: Request, query: BatchQuery) -> BatchRequest:
    """Read a request; its inputs are checked, and are JSON texts from then on."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == _NDJSON:
        given: object = {
            "inputs": ["…"],
            "labels": read_label_pairs(query.label),
            **query.model_dump(
                include={"workflow_id", "version", "priority", "deadline", "batch_id"},
                exclude_none=True,
            ),
        }
        # What the query says is known without reading a line.
        wanted = _validate(given, where="query")
        inputs = await read_lines(request.stream(), max_inputs=MAX_BATCH)
        return _validate({**wanted.model_dump(), "inputs": inputs}, where="query")
    if media_type == _JSON:
        return _validate(await read_document(request.stream(), max_inputs=MAX_BATCH), where="body")
    raise BatchTypeUnsupported


def _validate(given: object, *, where: str) -> BatchRequest:
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
