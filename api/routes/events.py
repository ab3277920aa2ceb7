"""Live events, as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field
from sse_starlette import ServerSentEvent

from api.access import Access, Doorkeeper, allow
from api.answers import PROBLEMS
from api.event_stream import EventHub, EventStream
from domain.errors import ErrorCode, TenantryError
from domain.permissions import Permission
from persistence.driver_errors import DatabaseUnreachable
from persistence.notifications import ExecutionEvent, get_last_seq

router = APIRouter(prefix="/events", tags=["events"], responses=PROBLEMS)

# So often a stream asks whether its token still lets in. Twice, and the answer, are under a second.
_LOOKED_AGAIN_S = 0.4
Listener = Annotated[Access, Depends(allow(Permission.EVENTS_READ))]
# Of one event: OpenAPI before 3.2 has no word for the whole stream.
_SCHEMA = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["ready", "execution", "missed", "closed"]},
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_EXAMPLE = {
    "event": "execution",
    "id": "42",
    "data": '{"execution_id":"exec_01jd3m3k7e9c5v2x8w4z6a1b0d",'
    '"workflow_id":"wf_01jd3m3k7e9c5v2x8w4z6a1b0d","status":"RUNNING",'
    '"at":"2026-11-23T12:00:00Z"}',
}


class EventData(BaseModel):
    """The `data` of an `execution` event."""

    execution_id: str
    workflow_id: str
    status: str = Field(examples=["COMPLETED"])
    at: datetime


class MissedData(BaseModel):
    """The `data` of a `missed` event: so many were removed, being old, before they were read."""

    count: int


class TooManyListeners(TenantryError):
    """An organization, or all together, listen more often than a process serves."""

    code = ErrorCode.REQUEST_TOO_MANY
    retryable = True
    retry_after_s = 30

    def __init__(self) -> None:
        super().__init__(
            "There are too many open event streams.",
            hint="Close streams that nobody reads; one stream has all the organization's events.",
        )


@router.get(
    "",
    response_class=EventStream,
    responses={
        200: {
            "description": "Events in the order of the commits, until you close the stream. "
            "First `ready`, with the position as its id; then an `execution` event for each new "
            "execution and each change of status. `missed` says that older events were removed "
            "before you read them; `closed`, that your token lets you in no longer. With `for_s` "
            "the stream ends by itself.",
            "content": {"text/event-stream": {"schema": _SCHEMA, "example": _EXAMPLE}},
        }
    },
)
def events(
    request: Request,
    access: Listener,
    last_event_id: Annotated[
        int | None,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=2**62,
            description="Resume behind this event; without it, begin now.",
        ),
    ] = None,
    for_s: Annotated[
        float | None,
        Query(
            ge=0,
            le=3_600,
            description="End the stream after so many seconds; without it, it goes on until you "
            "close it. What lies behind `Last-Event-ID` already is sent even with 0.",
            examples=[0],
        ),
    ] = None,
) -> EventStream:
    """Hear of your organization's executions as they are added and change their status."""
    hub = cast(EventHub, request.app.state.events)
    state = access.state
    if (
        hub.clients >= state.max_listeners
        or hub.clients_of(access.principal.org_id) >= state.max_listeners_per_org
    ):
        raise TooManyListeners
    with access.open() as session:
        newest = get_last_seq(session)
    # An id from the future is of another database: there is nothing to resume.
    position = newest if last_event_id is None else min(last_event_id, newest)
    return EventStream(
        _messages(request, access, position, newest=newest, for_s=for_s),
        ping=state.event_ping_s,
        send_timeout=state.event_send_timeout_s,
    )


async def _messages(
    request: Request, access: Access, position: int, *, newest: int, for_s: float | None
) -> AsyncGenerator[bytes]:
    hub = cast(EventHub, request.app.state.events)
    org_id, tick_s = access.principal.org_id, min(access.state.event_ping_s, _LOOKED_AGAIN_S)
    loop = asyncio.get_running_loop()
    checked_at = loop.time()
    ends_at = None if for_s is None else checked_at + for_s
    yield _message("ready", "{}", position)
    async with aclosing(hub.follow(org_id, position, tick_s=tick_s)) as batches:
        while True:
            # What was there when the stream was opened is sent in any case.
            until = ends_at if position >= newest else None
            if until is not None and until <= loop.time():
                return
            try:
                async with asyncio.timeout_at(until):
                    batch = await anext(batches)
            except TimeoutError:
                return
            if loop.time() - checked_at >= tick_s:
                # A stream outlives the request that opened it, but not its token.
                checked_at = loop.time()
                if not await _may_stay(request, access):
                    yield _message("closed", "{}", None)
                    return
            if batch:
                yield _render(batch, position)
                position = batch[-1].seq


async def _may_stay(request: Request, access: Access) -> bool:
    doorkeeper = cast(Doorkeeper, request.app.state.doorkeeper)
    try:
        return await doorkeeper.may_stay(access.principal, Permission.EVENTS_READ)
    except DatabaseUnreachable:
        # Without the database there are no events to hear, either; it is asked again.
        return True


def _render(batch: list[ExecutionEvent], position: int) -> bytes:
    parts: list[bytes] = []
    missed = batch[0].seq - position - 1
    if missed:
        parts.append(_message("missed", MissedData(count=missed).model_dump_json(), None))
    for event in batch:
        data = EventData(
            execution_id=event.execution_id,
            workflow_id=event.workflow_id,
            status=event.status.value,
            at=event.at,
        )
        parts.append(_message("execution", data.model_dump_json(), event.seq))
    return b"".join(parts)


def _message(name: str, data: str, id: int | None) -> bytes:
    return ServerSentEvent(data, event=name, id=None if id is None else str(id)).encode()
