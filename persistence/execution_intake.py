"""Executions come in, one at a time or ten thousand at once.

Adding one is the hottest path there is: one statement finds the workflow, checks it and writes
the row.
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
from domain.errors import ErrorCode, InvalidInput
from domain.execution_queries import ExecutionRecord
from domain.executions import Execution, ExecutionStatus, Trigger
from domain.ids import ExecutionId, WorkflowId, new_execution_id
from domain.json_data import JsonObject
from persistence.audit import add_audit
from persistence.execution_details import get_record
from persistence.executions import IdempotencyConflict
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


def add_requested(
    session: OrgSession,
    wish: ExecutionWish,
    input_data: JsonObject,
    *,
    idempotency_key: str | None = None,
) -> ExecutionRecord:
    """Queue an execution, with its audit entry; with a known key, return the first one.

    Raises:
        WorkflowNotFound: there is no such workflow, or not this version of it.
        WorkflowNotRunnable: it is archived, or this version is a draft.
        IdempotencyConflict: the key belongs to another workflow, version or input.
        DeadlineInvalid: it has passed, or is more than 366 days away.
    """
    now, id = utc_now(), new_execution_id()
    found = _run_for(
        session,
        wish,
        _ADD_ONE,
        {
            "id": id,
            "org_id": session.org_id,
            "input": json.dumps(input_data, ensure_ascii=False),
            "key": idempotency_key,
            "requested_by": session.user_id,
            "now": now,
            "priority": wish.priority,
            "labels": json.dumps(wish.labels),
            "deadline": wish.deadline,
            "is_in_time": _is_in_time(wish.deadline, now),
        },
    )
    if not found.is_added:
        first = _find_by_key(session, idempotency_key) if idempotency_key else None
        if first is not None:
            return _same_or_refuse(first, str(idempotency_key), wish, found, input_data)
        _check(wish, found, now)
        raise IdempotencyConflict(str(idempotency_key))
    details: JsonObject = {
        "workflow_id": found.id,
        "version": found.version,
        "trigger": Trigger.API.value,
    }
    _audit(session, "execution.created", "execution", id, now, details)
    execution = Execution(
        id=id,
        org_id=session.org_id,
        workflow_id=WorkflowId(found.id),
        workflow_version=found.version,
        status=ExecutionStatus.PENDING,
        trigger=Trigger.API,
        input_data=input_data,
        priority=wish.priority,
        attempt=1,
        created_at=now,
        requested_by=session.user_id,
        idempotency_key=idempotency_key,
    )
    return ExecutionRecord(execution=execution, labels=wish.labels, deadline=wish.deadline)


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
    """
    now = utc_now()
    found = _run_for(session, wish, _FIND, {})
    _check(wish, found, now)
    ids = [new_execution_id() for _ in inputs]
    session.execute(
        _ADD_MANY,
        {
            "ids": ids,
            "inputs": json.dumps(inputs, ensure_ascii=False),
            "org_id": session.org_id,
            "workflow_id": found.id,
            "version": found.version,
            "priority": wish.priority,
            "requested_by": session.user_id,
            "now": now,
            "labels": json.dumps(wish.labels),
            "batch_id": batch_id,
            "deadline": wish.deadline,
        },
    )
    details: JsonObject = {
        "workflow_id": found.id,
        "version": found.version,
        "trigger": Trigger.BATCH.value,
        "count": len(ids),
        "first_execution_id": ids[0],
        "last_execution_id": ids[-1],
    }
    _audit(session, "execution.batch_created", "batch", batch_id, now, details)
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


_FIND = _Statement.of("select t.*, false as is_added from target t")
_ADD_ONE = _Statement.of("""
, added as (
    insert into executions (id, org_id, workflow_id, workflow_version, input_data, trigger,
        priority, idempotency_key, requested_by, created_at, labels, deadline)
    select :id, :org_id, t.id, t.version, cast(:input as jsonb), 'api', :priority,
        cast(:key as text), cast(:requested_by as text), :now, cast(:labels as jsonb),
        cast(:deadline as timestamptz)
    from target t
    where not (t.is_archived or t.is_missing or t.is_draft) and :is_in_time
    on conflict (org_id, idempotency_key) do nothing
    returning id
)
select t.*, exists (select from added) as is_added from target t
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
    is_added: bool


def _run_for(
    session: OrgSession, wish: ExecutionWish, statement: _Statement, values: dict[str, Any]
) -> _Target:
    values = {"workflow": wish.workflow, "version": wish.version, **values}
    row = None
    if _WORKFLOW_ID.fullmatch(wish.workflow):
        row = session.execute(statement.by_id, values).first()
    if row is None:
        row = session.execute(statement.by_any, values).first()
    if row is None:
        raise WorkflowNotFound(wish.workflow)
    return _Target(*row)


def _check(wish: ExecutionWish, target: _Target, now: datetime) -> None:
    if target.is_archived:
        raise WorkflowNotRunnable.archived(target.name)
    if target.is_missing:
        raise WorkflowNotFound(f"{target.id} version {target.version}")
    if target.is_draft:
        raise WorkflowNotRunnable.draft(target.name, target.version)
    if not _is_in_time(wish.deadline, now):
        raise DeadlineInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/deadline",
            "The deadline is not between now and 366 days from now.",
            "Choose another time, or leave it out.",
        )


def _is_in_time(deadline: datetime | None, now: datetime) -> bool:
    return deadline is None or now < deadline <= now + MAX_DEADLINE


def _find_by_key(session: OrgSession, key: str) -> ExecutionRecord | None:
    id = session.scalar(select(ExecutionRow.id).where(ExecutionRow.idempotency_key == key))
    return get_record(session, ExecutionId(id)) if id else None


def _same_or_refuse(
    first: ExecutionRecord, key: str, wish: ExecutionWish, target: _Target, input_data: JsonObject
) -> ExecutionRecord:
    known = first.execution
    is_same = known.workflow_id == target.id and known.input_data == input_data
    # Without a version the first one stands: there may be a newer version by now.
    if not is_same or wish.version not in (None, known.workflow_version):
        raise IdempotencyConflict(key)
    return first


def _audit(
    session: OrgSession, action: str, kind: str, id: str, at: datetime, details: JsonObject
) -> None:
    entry = AuditEntry(
        action=action,
        resource_type=kind,
        resource_id=id,
        success=True,
        timestamp=at,
        user_id=session.user_id,
        details=details,
    )
    add_audit(session, [entry])
