"""The audit trail: entries, and the chain that shows when one was changed, removed or added."""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.ids import AuditId, OrgId
from domain.json_data import JsonObject

FORMAT = 2
"""What new entries' seals cover: the execution that they name as well, which format 1 lacks."""
GENESIS = bytes(32)
"""`prev_hash` of an organization's first entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what to what, and whether it worked. `timestamp` is aware UTC."""

    action: str
    resource_type: str
    resource_id: str | None
    success: bool
    timestamp: datetime
    user_id: str | None = None
    details: JsonObject = field(default_factory=lambda: JsonObject())
    error_message: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    execution_id: str | None = None
    """The execution that it is about, where the resource is another thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedEntry:
    """An entry at its place in its organization's chain."""

    id: AuditId
    org_id: OrgId
    seq: int
    prev_hash: bytes
    hash: bytes
    entry: AuditEntry
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where a chain ends: the last entry's place and hash."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk along a chain found.

    `first_bad_seq` is the place of the first entry that is wrong or missing, and `reason` says
    how; both are `None` when the chain holds. `checked` counts the entries that hold.
    """

    checked: int
    head: ChainHead
    first_bad_seq: int | None = None
    first_bad_id: AuditId | None = None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """Say whether the whole chain holds."""
        return self.first_bad_seq is None


def entry_hash(
    key: bytes,
    *,
    id: AuditId,
    org_id: OrgId,
    seq: int,
    prev_hash: bytes,
    entry: AuditEntry,
    format: int = FORMAT,
) -> bytes:
    """Compute an entry's HMAC-SHA256 over all its fields, its place and its predecessor.

    In format 1 no execution is named; in format 2 it is, after the format itself.

    The text under the HMAC is JSON with sorted keys and no spaces; times are UTC with
    microseconds, which is what Postgres keeps.
    """
    named = [] if format == 1 else [format, entry.execution_id]
    body = json.dumps(
        [
            *named,
            org_id,
            seq,
            prev_hash.hex(),
            id,
            entry.user_id,
            entry.action,
            entry.resource_type,
            entry.resource_id,
            entry.details,
            entry.ip_address,
            entry.user_agent,
            entry.success,
            entry.error_message,
            entry.timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
        ],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hmac.new(key, body.encode("ascii"), hashlib.sha256).digest()


def verify_chain(key: bytes, rows: Iterable[ChainedEntry], *, head: ChainHead) -> Verification:
    """Walk a chain in order of `seq` and name the first entry that does not hold.

    Finds changed, removed and inserted entries, and entries cut off at the end. Not findable by
    the chain alone: a cut at the end by someone who also sets the head back; compare the head
    with one noted earlier for that.

    Args:
        rows: all entries of one organization by rising `seq`.
        head: where the chain should end.
    """
    expected, previous = 1, GENESIS
    for row in rows:
        reason = _fault(key, row, expected=expected, previous=previous)
        if reason is None and row.seq > head.seq:
            reason = "the entry stands behind the end of the chain: it was inserted"
        if reason is not None:
            bad = min(row.seq, expected)
            bad_id = row.id if bad == row.seq else None
            return Verification(expected - 1, head, bad, bad_id, reason)
        expected, previous = expected + 1, row.hash
    if expected - 1 < head.seq:
        return Verification(expected - 1, head, expected, None, "the entry was removed")
    if not hmac.compare_digest(previous, head.hash):
        return Verification(
            expected - 1, head, head.seq, None, "the chain's end is not the one recorded"
        )
    return Verification(expected - 1, head)


def _fault(key: bytes, row: ChainedEntry, *, expected: int, previous: bytes) -> str | None:
    if row.seq > expected:
        return "the entry was removed"
    if row.seq < expected:
        return "the entry's place is taken twice: it was inserted"
    if row.format not in (1, FORMAT):
        return f"the entry says that it is of format {row.format}, which is not known here"
    if row.format == 1 and row.entry.execution_id is not None:
        return "the entry was changed: one of format 1 names no execution"
    wanted = entry_hash(
        key,
        id=row.id,
        org_id=row.org_id,
        seq=row.seq,
        prev_hash=row.prev_hash,
        entry=row.entry,
        format=row.format,
    )
    if not hmac.compare_digest(wanted, row.hash):
        return "the entry was changed or inserted: its seal does not fit its content"
    if not hmac.compare_digest(row.prev_hash, previous):
        return "the entry does not follow the one before it"
    return None
