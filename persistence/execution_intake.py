"""Executions come in one at a time.

Adding single ones is the hottest path there is: one statement finds the workflow, checks it and
writes the rows of all who ask for it at that moment.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.errors import TenantryError
from domain.execution_queries import ExecutionRecord
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.ids import ExecutionId, WorkflowId, new_execution_id
from domain.json_data import JsonObject
from domain.limits import QueueFull
from persistence.audit import add_audit
from persistence.driver_errors import DatabaseUnreachable
from persistence.execution_details import get_record
from persistence.execution_targets import (
    ExecutionWish,
    Target,
    TargetStatement,
    find_refusal,
    find_target,
    is_in_time,
    make_entry,
)
from persistence.executions import IdempotencyConflict
from persistence.limits import QueueRoom, measure_room
from persistence.sessions import OrgSession
from persistence.tables import ExecutionRow
from persistence.workflow_errors import WorkflowNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleWish(ExecutionWish):
    """One execution that is asked for."""

    input_data: JsonObject
    idempotency_key: str | None = None


def add_requested(
    session: OrgSession, wishes: Sequence[SingleWish]
) -> list[ExecutionRecord | TenantryError]:
    """Queue executions of one workflow and version, each with its audit entry.

    Each is asked for by itself: what is wrong with one does not touch the others, and stands in
    its place in the answer. A known key answers the first execution.

    Returns:
        In the order of the wishes, an execution or one of: `WorkflowNotFound` (or not this
        version), `WorkflowNotRunnable` (archived, or a draft), `IdempotencyConflict` (the key
        belongs to another request), `DeadlineInvalid` (passed, or too far),
        `QueueFull` (so many may not wait).
    """
    now = utc_now()
    room = measure_room(session)
    ids = [new_execution_id() for _ in wishes]
    first = wishes[0]
    places = _deal_places(session, wishes, room)
    rows = [
        _to_row(id, wish, now, has_room=has_room)
        for id, wish, has_room in zip(ids, wishes, places, strict=True)
    ]
    target = find_target(
        session,
        first,
        _ADD,
        {
            "org_id": session.org_id,
            "requested_by": session.user_id,
            "now": now,
            "rows": json.dumps(rows, ensure_ascii=False),
        },
    )
    if target is None:
        return [WorkflowNotFound(wish.workflow) for wish in wishes]
    answers: list[ExecutionRecord | TenantryError] = []
    entries: list[AuditEntry] = []
    for id, wish in zip(ids, wishes, strict=True):
        if id in target.added:
            answers.append(_added(session, id, wish, target, now))
            entries.append(make_entry(session, "execution.created", "execution", id, target, now))
        else:
            answers.append(_repeat_or_refuse(session, wish, target, now, room))
    add_audit(session, entries)
    return answers


# In order of the keys: two processes that wait for each other's keys would be in a deadlock.
_ADD = TargetStatement.of("""
, added as (
    insert into executions (id, org_id, workflow_id, workflow_version, input_data, trigger,
        priority, idempotency_key, requested_by, created_at, labels, deadline)
    select r.id, :org_id, t.id, t.version, r.input, 'api', r.priority, r.key,
        cast(:requested_by as text), :now, r.labels, r.deadline
    from target t, jsonb_to_recordset(cast(:rows as jsonb)) as r(
        id text, input jsonb, priority smallint, key text, labels jsonb, deadline timestamptz,
        is_admitted boolean)
    where not (t.is_archived or t.is_missing or t.is_draft or t.is_incomplete) and r.is_admitted
    order by r.key, r.id
    on conflict (org_id, idempotency_key) do nothing
    returning id
)
select t.*, array(select id from added) as added from target t
""")


def _deal_places(session: OrgSession, wishes: Sequence[SingleWish], room: QueueRoom) -> list[bool]:
    """Say which wishes have a place in the queue; one that was fulfilled before takes none."""
    if room.free >= len(wishes):
        return [True] * len(wishes)
    keys = [wish.idempotency_key for wish in wishes if wish.idempotency_key is not None]
    query = select(ExecutionRow.idempotency_key).where(ExecutionRow.idempotency_key.in_(keys))
    known, free = set(session.scalars(query)), room.free
    places: list[bool] = []
    for wish in wishes:
        is_new = wish.idempotency_key is None or wish.idempotency_key not in known
        places.append(not is_new or free > 0)
        free -= is_new
    return places


def _to_row(id: ExecutionId, wish: SingleWish, now: datetime, *, has_room: bool) -> dict[str, Any]:
    return {
        "id": id,
        "input": wish.input_data,
        "priority": wish.priority,
        "key": wish.idempotency_key,
        "labels": wish.labels,
        "deadline": wish.deadline.isoformat() if wish.deadline else None,
        "is_admitted": has_room and is_in_time(wish.deadline, now),
    }


def _added(
    session: OrgSession, id: ExecutionId, wish: SingleWish, target: Target, now: datetime
) -> ExecutionRecord:
    execution = Execution(
        id=id,
        org_id=session.org_id,
        workflow_id=WorkflowId(target.id),
        workflow_version=target.version,
        status=ExecutionStatus.PENDING,
        trigger=Trigger.API,
        input_data=wish.input_data,
        priority=wish.priority,
        attempt=1,
        created_at=now,
        requested_by=session.user_id,
        idempotency_key=wish.idempotency_key,
    )
    return ExecutionRecord(execution=execution, labels=wish.labels, deadline=wish.deadline)


def _repeat_or_refuse(
    session: OrgSession, wish: SingleWish, target: Target, now: datetime, room: QueueRoom
) -> ExecutionRecord | TenantryError:
    # The key comes first: a request that is repeated gets its answer, whatever changed since.
    key = wish.idempotency_key
    if key is not None:
        id = session.scalar(select(ExecutionRow.id).where(ExecutionRow.idempotency_key == key))
        if id is not None:
            first = get_record(session, ExecutionId(id))
            return first if _is_same(first, wish, target) else IdempotencyConflict(key)
    refusal = find_refusal(session, wish, target, now=now)
    if refusal is None and room.limit is not None:
        refusal = QueueFull(waiting=room.waiting, limit=room.limit)
    # Without a reason, the execution that had the key was removed in this moment.
    return refusal or DatabaseUnreachable()


def _is_same(first: ExecutionRecord, wish: SingleWish, target: Target) -> bool:
    known = first.execution
    # Without a version any will do: there may be a newer one by now.
    return (
        known.workflow_id == target.id
        and known.input_data == wish.input_data
        and known.priority == wish.priority
        and first.deadline == wish.deadline
        and first.labels == wish.labels
        and wish.version in (None, known.workflow_version)
    )
