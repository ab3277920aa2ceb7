"""Events of executions: read by position, heard of by LISTEN, removed when they are old."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import Engine, func, select, text

from domain.executions import ExecutionStatus
from domain.ids import ExecutionId, TokenId, WorkflowId
from domain.permissions import Permission, Role, permissions_of
from persistence.driver_errors import DatabaseUnreachable
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import ApiTokenRow, EventRow, MembershipRow

EVENTS = "tenantry_events"
"""Told of each commit that gave an organization events, with its id."""
QUEUE = "tenantry_queue"
"""Told of each commit that gave the queue executions, with no word more."""


@dataclass(frozen=True, slots=True)
class ExecutionEvent:
    """An execution was added, or got another status.

    `seq` counts an organization's events without a gap, in the order in which they were
    committed.
    """

    seq: int
    execution_id: ExecutionId
    workflow_id: WorkflowId
    status: ExecutionStatus
    at: datetime


def list_events(session: OrgSession, *, after: int, limit: int = 500) -> list[ExecutionEvent]:
    """List the organization's events behind a position, in order."""
    return [
        ExecutionEvent(
            seq=row.seq,
            execution_id=ExecutionId(row.execution_id),
            workflow_id=WorkflowId(row.workflow_id),
            status=ExecutionStatus(row.status),
            at=row.at,
        )
        for row in session.execute(_BEHIND, {"after": after, "limit": limit})
    ]


# A row has the events of one statement, and the number of the last of them. Only as many rows are
# opened, and of each only as much, as the answer has room for: a row may have thousands.
_BEHIND = text("""
with head as (
    select id, seq, size, skipped,
        sum(size - skipped) over (order by seq) - (size - skipped) as earlier
    from (
        select id, seq, size, greatest(0, :after - (seq - size)) as skipped
        from events where seq > :after order by seq limit :limit
    ) found
)
select h.seq - h.size + h.skipped + one.number as seq,
    one.execution_id, one.workflow_id, one.status, e.at
from head h join events e on e.id = h.id cross join lateral unnest(
    e.execution_ids[h.skipped + 1 : h.skipped + :limit],
    e.workflow_ids[h.skipped + 1 : h.skipped + :limit],
    e.statuses[h.skipped + 1 : h.skipped + :limit]
) with ordinality as one(execution_id, workflow_id, status, number)
where h.earlier < :limit
order by h.seq, one.number limit :limit
""")


def get_last_seq(session: OrgSession) -> int:
    """Say which event is the organization's newest; 0 if it never had one."""
    return session.scalar(select(func.max(EventRow.seq))) or 0


_PRUNE = text("""
delete from events where id in (
    select e.id from events e
    where e.at < :before
        and exists (select from events n where n.org_id = e.org_id and n.seq > e.seq)
    order by e.at limit :limit)
returning id
""")


def prune_events(session: PlatformSession, *, before: datetime, limit: int = 10_000) -> int:
    """Remove events of all organizations that are older than a time; return how many.

    Safe to repeat: call it until it returns less than `limit`. An organization's newest event
    stays, whatever its age: the next one is numbered after it. A listener that was away for
    longer is told that it missed some.
    """
    return len(session.execute(_PRUNE, {"before": before, "limit": limit}).all())


def find_allowed(
    session: PlatformSession, token_ids: Sequence[TokenId], permission: Permission
) -> frozenset[TokenId]:
    """Find those of some tokens that let somebody in and would still let them do this."""
    rows = session.execute(
        select(ApiTokenRow.id, ApiTokenRow.scopes, MembershipRow.role)
        .join(
            MembershipRow,
            (MembershipRow.org_id == ApiTokenRow.org_id)
            & (MembershipRow.user_id == ApiTokenRow.user_id),
        )
        .where(
            ApiTokenRow.id.in_(token_ids),
            MembershipRow.removed_at.is_(None),
            ApiTokenRow.revoked_at.is_(None),
            ApiTokenRow.expires_at > func.now(),
        )
    )
    return frozenset(
        TokenId(row.id)
        for row in rows
        if permission in permissions_of(Role(row.role), scopes=_scopes(row.scopes))
    )


def _scopes(names: list[str] | None) -> list[Permission] | None:
    return None if names is None else [Permission(name) for name in names]


async def listen(
    engine: Engine, *, channel: str, quiet_s: float
) -> AsyncGenerator[frozenset[str] | None]:
    """Hear what a channel is told, over one connection of its own.

    Yields `None` once the connection listens, and again after each `quiet_s` without news, when
    it has also been seen to be alive: what was committed before may have gone unheard, so look.

    Raises:
        DatabaseUnreachable: the connection is lost, or there is none.
    """
    _, given = engine.dialect.create_connect_args(engine.url)
    try:
        connection = await psycopg.AsyncConnection.connect(**{**given, **_CONNECTION})
        async with connection:
            await connection.execute(SQL("listen {}").format(Identifier(channel)))
            yield None
            while True:
                heard: set[str] = set()
                async for notice in connection.notifies(timeout=quiet_s, stop_after=1):
                    heard.add(notice.payload)
                if not heard:
                    await connection.execute("select 1")
                yield frozenset(heard) or None
    except psycopg.Error as error:
        raise DatabaseUnreachable from error


_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 5,
    "application_name": "tenantry-events",
    # A peer that vanished without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
