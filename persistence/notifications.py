"""Events of executions: read by position, heard of by LISTEN, removed when they are old."""

from collections.abc import AsyncGenerator
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


# A row has the events of one statement, and the number of the last of them.
_BEHIND = text("""
select e.seq - cardinality(e.execution_ids) + one.number as seq,
    one.execution_id, one.workflow_id, one.status, e.at
from events e, unnest(e.execution_ids, e.workflow_ids, e.statuses) with ordinality
    as one(execution_id, workflow_id, status, number)
where e.seq > :after and e.seq - cardinality(e.execution_ids) + one.number > :after
order by e.seq, one.number limit :limit
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


def token_allows(session: PlatformSession, token_id: TokenId, permission: Permission) -> bool:
    """Say whether a token that let somebody in would still let them do this."""
    row = session.execute(
        select(ApiTokenRow.scopes, MembershipRow.role)
        .join(
            MembershipRow,
            (MembershipRow.org_id == ApiTokenRow.org_id)
            & (MembershipRow.user_id == ApiTokenRow.user_id),
        )
        .where(
            ApiTokenRow.id == token_id,
            ApiTokenRow.revoked_at.is_(None),
            ApiTokenRow.expires_at > func.now(),
        )
    ).first()
    if row is None:
        return False
    scopes = None if row.scopes is None else [Permission(scope) for scope in row.scopes]
    return permission in permissions_of(Role(row.role), scopes=scopes)


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
