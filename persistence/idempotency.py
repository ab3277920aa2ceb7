"""Requests that are sent again are answered as the first one was, and do nothing a second time.

A single execution keeps its key itself, for as long as it is kept; the keys of other requests are
kept here for a week.
"""

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import cast

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from domain.clock import utc_now
from domain.json_data import JsonObject, encode_json
from persistence.executions import IdempotencyConflict
from persistence.sessions import OrgSession
from persistence.tables import IdempotencyKeyRow

KEPT = timedelta(days=7)
_MAX_DROPPED = 100


def hash_content(content: JsonObject, inputs: Iterable[str] = ()) -> bytes:
    """Make a request's digest: of its fields, and of what is too large to be one of them."""
    fields = [encode_json({name: content[name]}) for name in sorted(content)]
    digest = hashlib.sha256()
    for part in (*fields, "", *inputs):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.digest()


def claim_key(
    session: OrgSession, operation: str, key: str, content_hash: bytes
) -> JsonObject | None:
    """Take a key for a request, in the transaction that does what it asks for.

    A second request with the key waits until the first one is committed, or rolled back.

    Returns:
        The first request's answer, or `None` if this one is the first.

    Raises:
        IdempotencyConflict: the key was used for another request.
    """
    _drop_old(session)
    statement = insert(IdempotencyKeyRow).values(
        org_id=session.org_id,
        operation=operation,
        key=key,
        content_hash=content_hash,
        created_at=utc_now(),
    )
    claimed = session.scalar(statement.on_conflict_do_nothing().returning(IdempotencyKeyRow.key))
    if claimed is not None:
        return None
    first = session.execute(
        select(IdempotencyKeyRow.content_hash, IdempotencyKeyRow.answer).where(
            IdempotencyKeyRow.operation == operation, IdempotencyKeyRow.key == key
        )
    ).one()
    if first.content_hash != content_hash:
        raise IdempotencyConflict(key)
    return cast(JsonObject, first.answer)


def keep_answer(session: OrgSession, operation: str, key: str, answer: JsonObject) -> None:
    """Keep what a request with a key is answered, in its transaction."""
    session.execute(
        update(IdempotencyKeyRow)
        .where(IdempotencyKeyRow.operation == operation, IdempotencyKeyRow.key == key)
        .values(answer=answer)
    )


def _drop_old(session: OrgSession) -> None:
    old = (
        select(IdempotencyKeyRow.operation, IdempotencyKeyRow.key)
        .where(IdempotencyKeyRow.created_at < utc_now() - KEPT)
        .limit(_MAX_DROPPED)
        .with_for_update(skip_locked=True)
    )
    own = tuple_(IdempotencyKeyRow.operation, IdempotencyKeyRow.key)
    session.execute(delete(IdempotencyKeyRow).where(own.in_(old)))
