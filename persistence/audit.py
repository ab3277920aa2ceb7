"""Write and read the audit trail. Entries are appended in the transaction that they describe."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from sqlalchemy import ColumnElement, or_, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from domain.audit import (
    FORMAT,
    GENESIS,
    AuditEntry,
    ChainedEntry,
    ChainHead,
    Verification,
    entry_hash,
    verify_chain,
)
from domain.clock import utc_now
from domain.ids import AuditId, OrgId, new_audit_id
from domain.json_data import JsonObject
from persistence.sessions import OrgSession
from persistence.tables import AuditHeadRow, AuditRow

_PAGE = 5_000


def add_audit(session: OrgSession, entries: Sequence[AuditEntry]) -> None:
    """Append entries to the organization's chain.

    Call it last in a transaction: it holds the chain's head until the commit, and all other
    writers of this organization wait there.
    """
    if not entries:
        return
    key = cast(bytes, session.info["audit_key"])
    head = _lock_head(session)
    seq, previous = head.seq, head.hash
    origin = session.origin
    rows: list[JsonObject] = []
    for given in entries:
        entry = replace(given, ip_address=origin.ip_address, user_agent=origin.user_agent)
        seq, id = seq + 1, new_audit_id()
        previous = entry_hash(
            key, id=id, org_id=session.org_id, seq=seq, prev_hash=previous, entry=entry
        )
        rows.append(_to_row(id, entry, previous))
    session.execute(
        _APPEND,
        {
            "org_id": session.org_id,
            "ip_address": origin.ip_address,
            "user_agent": origin.user_agent,
            "seq": head.seq,
            "hash": head.hash.hex(),
            "format": FORMAT,
            "last_seq": seq,
            "last_hash": previous,
            "rows": json.dumps(rows, ensure_ascii=False, allow_nan=False),
        },
    )


def note_act(session: OrgSession, action: str, id: str, details: JsonObject | None = None) -> None:
    """Append an entry of what the session's user has done just now, successfully.

    Args:
        action: `<resource type>.<participle>`, such as `workflow.created`; `id` is the resource's.
    """
    entry = AuditEntry(
        action=action,
        resource_type=action.split(".", 1)[0],
        resource_id=id,
        success=True,
        timestamp=utc_now(),
        user_id=session.user_id,
        details=details or {},
    )
    add_audit(session, [entry])


# One statement, however many there are: the entries travel as one JSON array, in their order. As
# `json` and not `jsonb`, since details are hashed, and stored, as they are written.
_APPEND = text("""
with added as (
    insert into audit_logs (id, org_id, user_id, action, resource_type, resource_id, details,
        ip_address, user_agent, success, error_message, timestamp, execution_id, format, seq,
        prev_hash, hash)
    select id, :org_id, user_id, action, resource_type, resource_id, details,
        cast(:ip_address as text), cast(:user_agent as text), success, error_message, timestamp,
        execution_id, cast(:format as smallint), cast(:seq as bigint) + number,
        decode(coalesce(lag(hash) over (order by number), cast(:hash as text)), 'hex'),
        decode(hash, 'hex')
    from rows from (json_to_recordset(cast(:rows as json)) as (
        id text, user_id text, action text, resource_type text, resource_id text, details json,
        success boolean, error_message text, timestamp timestamptz, execution_id text,
        hash text
    )) with ordinality as given(id, user_id, action, resource_type, resource_id, details, success,
        error_message, timestamp, execution_id, hash, number)
)
update audit_heads set seq = :last_seq, hash = :last_hash where org_id = :org_id
""")


def _to_row(id: AuditId, entry: AuditEntry, hash: bytes) -> JsonObject:
    return {
        "id": id,
        "user_id": entry.user_id,
        "action": entry.action,
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "details": entry.details,
        "success": entry.success,
        "error_message": entry.error_message,
        "timestamp": entry.timestamp.isoformat(),
        "execution_id": entry.execution_id,
        "hash": hash.hex(),
    }


def list_audit(
    session: OrgSession, *, resource_id: str | None = None, limit: int = 100
) -> list[ChainedEntry]:
    """List the newest entries first, of one resource or of all."""
    query = select(AuditRow).order_by(AuditRow.seq.desc()).limit(limit)
    if resource_id is not None:
        query = query.where(is_about(resource_id))
    return [to_entry(row) for row in session.scalars(query)]


def is_about(resource_id: str) -> ColumnElement[bool]:
    """Select the entries of a resource; of an execution also those that only name it."""
    own = AuditRow.resource_id == resource_id
    if not resource_id.startswith("exec_"):
        return own
    return or_(own, AuditRow.execution_id == resource_id)


def verify_audit(session: OrgSession) -> Verification:
    """Walk the organization's whole chain, and name the first entry that does not hold.

    Needs a session opened with `snapshot=True`: entries that others append meanwhile would seem
    to stand behind the chain's end.
    """
    found = session.scalar(select(AuditHeadRow))
    head = ChainHead(found.seq, found.hash) if found else ChainHead(0, GENESIS)
    key = cast(bytes, session.info["audit_key"])
    return verify_chain(key, _walk(session), head=head)


def _walk(session: OrgSession) -> Iterator[ChainedEntry]:
    # By page: a chain may be longer than memory.
    last: int | None = None
    while True:
        query = select(AuditRow).order_by(AuditRow.seq).limit(_PAGE)
        if last is not None:
            query = query.where(AuditRow.seq > last)
        page = session.scalars(query).all()
        for row in page:
            yield to_entry(row)
        if len(page) < _PAGE:
            return
        last = page[-1].seq
        session.expunge_all()


def _lock_head(session: OrgSession) -> ChainHead:
    query = select(AuditHeadRow.seq, AuditHeadRow.hash).with_for_update()
    found = session.execute(query).first()
    if found is None:
        session.execute(
            upsert(AuditHeadRow)
            .values(org_id=session.org_id, seq=0, hash=GENESIS)
            .on_conflict_do_nothing()
        )
        found = session.execute(query).one()
    return ChainHead(found.seq, found.hash)


def to_entry(row: AuditRow) -> ChainedEntry:
    """Turn a row into what the other floors know."""
    return ChainedEntry(
        id=AuditId(row.id),
        org_id=OrgId(row.org_id),
        seq=row.seq,
        prev_hash=row.prev_hash,
        hash=row.hash,
        format=row.format,
        entry=AuditEntry(
            action=row.action,
            resource_type=row.resource_type,
            resource_id=row.resource_id,
            success=row.success,
            timestamp=row.timestamp,
            user_id=row.user_id,
            details=row.details,
            error_message=row.error_message,
            ip_address=row.ip_address,
            user_agent=row.user_agent,
            execution_id=row.execution_id,
        ),
    )
