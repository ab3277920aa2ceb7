"""Executions come in, one at a time or ten thousand at once.

Adding single ones is the hottest path there is: one statement finds the workflow, checks it and
writes the rows of all who ask for it at that moment.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TextClause, select, text

from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.errors import ErrorCode, InvalidInput, TenantryError
from domain.execution_queries import ExecutionRecord
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.ids import ExecutionId, WorkflowId, new_execution_id
from domain.json_data import JsonObject
from domain.limits import QueueFull
from persistence.audit import add_audit
from persistence.driver_errors import DatabaseUnreachable
from persistence.execution_details import get_record
from persistence.executions import IdempotencyConflict
from persistence.limits import QueueRoom, measure_room
from persistence.sessions import OrgSession
from persistence.tables import ExecutionRow
from persistence.workflow_errors import WorkflowNotFound, WorkflowNotRunnable

MAX_DEADLINE = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionWish:
    """What the executions of one request have in common.

    `workflow` is an id, a slug or a name. Without a `version` it is the one that runs now.
    """

    workflow: str
    version: int | None = None
    priority: int = 3
    deadline: datetime | None = None
    labels: dict[str, str]


class DeadlineInvalid(InvalidInput):
    """An execution would be too late before it began, or waits for longer than we keep it."""

    subject = "deadline"


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
        belongs to another workflow, version or input), `DeadlineInvalid` (passed, or too far),
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
    target = _find_target(
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
            entries.append(_entry(session, "execution.created", "execution", id, target, now))
        else:
            answers.append(_repeat_or_refuse(session, wish, target, now, room))
    add_audit(session, entries)
    return answers


def add_batch(
    session: OrgSession, wish: ExecutionWish, inputs: Sequence[JsonObject], *, batch_id: str
) -> list[ExecutionId]:
    """Queue an execution for each input, all or none, in one statement and with one audit entry.

    A batch that is there already grows.

    Returns:
        Their ids, in the order of the inputs.

    Raises:
        WorkflowNotFound: there is no such workflow, or not this version of it.
        WorkflowNotRunnable: it is archived, or this version is a draft.
        DeadlineInvalid: it has passed, or is more than 366 days away.
        QueueFull: so many may not wait.
    """
    now = utc_now()
    measure_room(session).check_can_hold(len(inputs))
    target = _find_target(session, wish, _FIND, {})
    if target is None:
        raise WorkflowNotFound(wish.workflow)
    refusal = _find_refusal(wish, target, now)
    if refusal is not None:
        raise refusal
    ids = [new_execution_id() for _ in inputs]
    session.execute(
        _ADD_MANY,
        {
            "ids": ids,
            "inputs": json.dumps(inputs, ensure_ascii=False),
            "org_id": session.org_id,
            "workflow_id": target.id,
            "version": target.version,
            "priority": wish.priority,
            "requested_by": session.user_id,
            "now": now,
            "labels": json.dumps(wish.labels),
            "batch_id": batch_id,
            "deadline": wish.deadline,
        },
    )
    entry = _entry(session, "execution.batch_created", "batch", batch_id, target, now)
    entry.details.update(
        {
            "trigger": Trigger.BATCH.value,
            "count": len(ids),
            "first_execution_id": ids[0],
            "last_execution_id": ids[-1],
        }
    )
    add_audit(session, [entry])
    return ids


_TARGET = """
with target as materialized (
    select w.id, w.name, w.archived_at is not null as is_archived,
        coalesce(cast(:version as integer), w.version) as version,
        v.version is null as is_missing, v.problems is not null as is_draft
    from workflows w left join workflow_versions v
        on v.workflow_id = w.id and v.version = coalesce(cast(:version as integer), w.version)
    where {match} limit 1
)
"""
_BY_ID = "w.id = :workflow"
_BY_ANY = (
    "w.id = :workflow or w.slug = :workflow or lower(w.name) = lower(:workflow) "
    "order by (w.id = :workflow) desc, (w.slug = :workflow) desc"
)


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement about a workflow: by its id, the usual case, or by id, slug or name."""

    by_id: TextClause
    by_any: TextClause

    @classmethod
    def of(cls, rest: str) -> "_Statement":
        return cls(*(text(_TARGET.format(match=match) + rest) for match in (_BY_ID, _BY_ANY)))


_FIND = _Statement.of("select t.*, array[]::text[] as added from target t")
# In order of the keys: two processes that wait for each other's keys would be in a deadlock.
_ADD = _Statement.of("""
, added as (
    insert into executions (id, org_id, workflow_id, workflow_version, input_data, trigger,
        priority, idempotency_key, requested_by, created_at, labels, deadline)
    select r.id, :org_id, t.id, t.version, r.input, 'api', r.priority, r.key,
        cast(:requested_by as text), :now, r.labels, r.deadline
    from target t, jsonb_to_recordset(cast(:rows as jsonb)) as r(
        id text, input jsonb, priority smallint, key text, labels jsonb, deadline timestamptz,
        is_admitted boolean)
    where not (t.is_archived or t.is_missing or t.is_draft) and r.is_admitted
    order by r.key, r.id
    on conflict (org_id, idempotency_key) do nothing
    returning id
)
select t.*, array(select id from added) as added from target t
""")
_ADD_MANY = text("""
insert into executions (id, org_id, workflow_id, workflow_version, input_data, trigger, priority,
    requested_by, created_at, labels, batch_id, deadline)
select r.id, :org_id, :workflow_id, :version, r.input_data, 'batch', :priority,
    cast(:requested_by as text), :now, cast(:labels as jsonb), :batch_id,
    cast(:deadline as timestamptz)
from rows from (unnest(cast(:ids as text[])), jsonb_array_elements(cast(:inputs as jsonb)))
    as r(id, input_data)
""")
_WORKFLOW_ID = re.compile("wf_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class _Target:
    """The workflow that is meant, and whether it can be executed."""

    id: str
    name: str
    is_archived: bool
    version: int
    is_missing: bool
    is_draft: bool
    added: frozenset[str]


def _find_target(
    session: OrgSession, wish: ExecutionWish, statement: _Statement, values: dict[str, Any]
) -> _Target | None:
    values = {"workflow": wish.workflow, "version": wish.version, **values}
    row = None
    if _WORKFLOW_ID.fullmatch(wish.workflow):
        row = session.execute(statement.by_id, values).first()
    if row is None:
        row = session.execute(statement.by_any, values).first()
    if row is None:
        return None
    return _Target(
        id=row.id,
        name=row.name,
        is_archived=row.is_archived,
        version=row.version,
        is_missing=row.is_missing,
        is_draft=row.is_draft,
        added=frozenset(row.added),
    )


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
        "is_admitted": has_room and _is_in_time(wish.deadline, now),
    }


def _added(
    session: OrgSession, id: ExecutionId, wish: SingleWish, target: _Target, now: datetime
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
    session: OrgSession, wish: SingleWish, target: _Target, now: datetime, room: QueueRoom
) -> ExecutionRecord | TenantryError:
    # The key comes first: a request that is repeated gets its answer, whatever changed since.
    key = wish.idempotency_key
    if key is not None:
        id = session.scalar(select(ExecutionRow.id).where(ExecutionRow.idempotency_key == key))
        if id is not None:
            first = get_record(session, ExecutionId(id))
            return first if _is_same(first, wish, target) else IdempotencyConflict(key)
    refusal = _find_refusal(wish, target, now)
    if refusal is None and room.limit is not None:
        refusal = QueueFull(waiting=room.waiting, limit=room.limit)
    # Without a reason, the execution that had the key was removed in this moment.
    return refusal or DatabaseUnreachable()


def _is_same(first: ExecutionRecord, wish: SingleWish, target: _Target) -> bool:
    known = first.execution
    # Without a version any will do: there may be a newer one by now.
    return (
        known.workflow_id == target.id
        and known.input_data == wish.input_data
        and wish.version in (None, known.workflow_version)
    )


def _find_refusal(wish: ExecutionWish, target: _Target, now: datetime) -> TenantryError | None:
    if target.is_archived:
        return WorkflowNotRunnable.archived(target.name)
    if target.is_missing:
        return WorkflowNotFound(f"{target.id} version {target.version}")
    if target.is_draft:
        return WorkflowNotRunnable.draft(target.name, target.version)
    if not _is_in_time(wish.deadline, now):
        return DeadlineInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/deadline",
            "The deadline is not between now and 366 days from now.",
            "Choose another time, or leave it out.",
        )
    return None


def _is_in_time(deadline: datetime | None, now: datetime) -> bool:
    return deadline is None or now < deadline <= now + MAX_DEADLINE


def _entry(
    session: OrgSession, action: str, kind: str, id: str, target: _Target, at: datetime
) -> AuditEntry:
    return AuditEntry(
        action=action,
        resource_type=kind,
        resource_id=id,
        success=True,
        timestamp=at,
        user_id=session.user_id,
        details={
            "workflow_id": target.id,
            "version": target.version,
            "trigger": Trigger.API.value,
        },
    )
