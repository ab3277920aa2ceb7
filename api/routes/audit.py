"""The audit trail: read, exported, verified."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from api.cursors import (
    EXAMPLE_CURSOR,
    Cursor,
    read_cursor,
    scope_of,
    unreadable_cursor,
    write_cursor,
)
from api.routes.execution_wishes import Moment
from domain.audit import AuditEntry, ChainedEntry
from domain.clock import utc_now
from domain.json_data import JsonObject
from domain.permissions import Permission
from persistence.audit import add_audit, verify_audit
from persistence.audit_lists import AuditFilter, get_audit_end, list_audit_page

router = APIRouter(prefix="/audit", tags=["audit"], responses=PROBLEMS)

_EXPORT_PAGE = 1_000
_KIND = "audit"
_PLACE = re.compile("[0-9]{1,18}")
_NDJSON = "application/x-ndjson"
_HASH = "a3f1c09e" * 8
Reader = Annotated[Access, Depends(allow(Permission.AUDIT_READ))]
Name = Annotated[Text, Field(min_length=1, max_length=120)]


class AuditRecord(BaseModel):
    """One entry, at its place in the organization's chain."""

    seq: int = Field(description="Its place: 1, 2, 3, … without a gap.", examples=[42])
    id: str = Field(examples=["audit_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    timestamp: datetime
    action: str = Field(examples=["execution.created"])
    resource_type: str = Field(examples=["execution"])
    resource_id: str | None = Field(examples=["exec_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    execution_id: str | None = Field(
        description="The execution that it is about, where the resource is its workflow.",
        examples=[None],
    )
    user_id: str | None = Field(examples=["user_anna"])
    success: bool
    error_message: str | None = Field(examples=[None])
    details: dict[str, Any] = Field(examples=[{"priority": 3}])
    ip_address: str | None = Field(examples=["192.0.2.17"])
    user_agent: str | None = Field(examples=["curl/8.5.0"])
    prev_hash: str = Field(
        description="The hash of the entry before it, as hex digits.", examples=["0b7d2846" * 8]
    )
    format: int = Field(
        description="What the hash covers: 2 names the execution as well, 1 (older) does not.",
        examples=[2],
    )
    hash: str = Field(
        description="HMAC-SHA256 over the entry and `prev_hash`, as hex digits.",
        examples=[_HASH],
    )

    @classmethod
    def of(cls, chained: ChainedEntry) -> "AuditRecord":
        """Show an entry."""
        entry = chained.entry
        return cls(
            seq=chained.seq,
            id=chained.id,
            timestamp=entry.timestamp,
            action=entry.action,
            resource_type=entry.resource_type,
            resource_id=entry.resource_id,
            execution_id=entry.execution_id,
            user_id=entry.user_id,
            success=entry.success,
            error_message=entry.error_message,
            details=dict(entry.details),
            ip_address=entry.ip_address,
            user_agent=entry.user_agent,
            prev_hash=chained.prev_hash.hex(),
            format=chained.format,
            hash=chained.hash.hex(),
        )


class AuditPage(BaseModel):
    """A page of entries."""

    items: list[AuditRecord]
    next_cursor: str | None = Field(
        description="Give it as `cursor` for the next page; null on the last one.",
        examples=[EXAMPLE_CURSOR],
    )


class ChainEnd(BaseModel):
    """Where the chain ends: note it elsewhere, to find out later whether its end was cut off."""

    seq: int = Field(examples=[42])
    hash: str = Field(examples=[_HASH])


class BadEntry(BaseModel):
    """The first entry that does not hold."""

    seq: int
    id: str | None = Field(description="null for one that is missing.", examples=[None])
    reason: str = Field(examples=["the entry was removed"])


class AuditVerification(BaseModel):
    """What a walk along the whole chain found."""

    ok: bool
    checked: int = Field(description="How many entries hold.", examples=[42])
    head: ChainEnd
    first_bad: BadEntry | None = Field(examples=[None])


def _read_filter(
    action: Annotated[Name | None, Query(examples=["execution.created"])] = None,
    resource_type: Annotated[Name | None, Query(examples=["execution"])] = None,
    resource_id: Annotated[Name | None, Query()] = None,
    user_id: Annotated[Name | None, Query()] = None,
    success: Annotated[bool | None, Query(description="`false`: only what failed.")] = None,
    since: Annotated[Moment | None, Query(description="From this time on.")] = None,
    until: Annotated[Moment | None, Query(description="Before this time.")] = None,
) -> AuditFilter:
    return AuditFilter(
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        user_id=user_id,
        success=success,
        since=since,
        until=until,
    )


Wanted = Annotated[AuditFilter, Depends(_read_filter)]


@router.get("")
def list_entries(
    access: Reader,
    wanted: Wanted,
    order: Literal["newest", "oldest"] = "newest",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> AuditPage:
    """List the audit trail by page, newest or oldest first."""
    scope = scope_of(wanted, order)
    after = _read_place(cursor, scope)
    with access.open() as session:
        entries = list_audit_page(
            session, wanted, after=after, newest_first=order == "newest", limit=limit + 1
        )
    page = entries[:limit]
    return AuditPage(
        items=[AuditRecord.of(entry) for entry in page],
        next_cursor=(
            write_cursor(_KIND, scope, [str(page[-1].seq)]) if len(entries) > limit else None
        ),
    )


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "One entry a line, oldest first, as it stood when the export began.",
            "content": {
                _NDJSON: {"schema": {"type": "string"}, "example": '{"seq":1,"id":"audit_…"}\n'}
            },
        }
    },
)
def export_entries(access: Reader, wanted: Wanted) -> StreamingResponse:
    """Export the audit trail as NDJSON. The export is itself an entry, `audit.exported`."""
    with access.open() as session:
        end = get_audit_end(session)
        add_audit(session, [_exported(access, wanted, end)])
    return StreamingResponse(
        _lines(access, wanted, end),
        media_type=_NDJSON,
        headers={"Content-Disposition": 'attachment; filename="audit.ndjson"'},
    )


@router.get("/verify")
def verify(access: Reader) -> AuditVerification:
    """Walk the whole chain and name the first entry that was changed, removed or inserted."""
    with access.open(snapshot=True) as session:
        found = verify_audit(session)
    bad = None
    if found.first_bad_seq is not None:
        bad = BadEntry(
            seq=found.first_bad_seq, id=found.first_bad_id, reason=str(found.reason or "")
        )
    return AuditVerification(
        ok=found.ok,
        checked=found.checked,
        head=ChainEnd(seq=found.head.seq, hash=found.head.hash.hex()),
        first_bad=bad,
    )


def _lines(access: Access, wanted: AuditFilter, end: int) -> Iterator[bytes]:
    # A transaction a page: a slow reader of a long trail holds no snapshot open meanwhile.
    last = 0
    while True:
        with access.open() as session:
            page = list_audit_page(
                session, wanted, after=last, newest_first=False, limit=_EXPORT_PAGE
            )
        kept = [entry for entry in page if entry.seq <= end]
        if kept:
            yield b"".join(
                AuditRecord.of(entry).model_dump_json().encode() + b"\n" for entry in kept
            )
        if len(kept) < _EXPORT_PAGE:
            return
        last = kept[-1].seq


def _exported(access: Access, wanted: AuditFilter, end: int) -> AuditEntry:
    filters: JsonObject = {
        name: json.loads(json.dumps(value, default=str))
        for name in AuditFilter.__slots__
        if (value := getattr(wanted, name)) is not None
    }
    return AuditEntry(
        action="audit.exported",
        resource_type="audit",
        resource_id=None,
        success=True,
        timestamp=utc_now(),
        user_id=access.principal.user_id,
        details={"filter": filters, "up_to_seq": end},
    )


def _read_place(cursor: str | None, scope: str) -> int | None:
    if cursor is None:
        return None
    position = read_cursor(cursor, _KIND, scope)
    if len(position) != 1 or not _PLACE.fullmatch(position[0]):
        raise unreadable_cursor()
    return int(position[0])
