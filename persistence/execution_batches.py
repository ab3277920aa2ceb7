"""Ten thousand executions come in at once."""

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import text

from domain.clock import utc_now
from domain.executions import Trigger
from domain.ids import ExecutionId, new_execution_id
from domain.json_data import JsonObject, encode_json
from persistence.audit import add_audit
from persistence.execution_targets import (
    ExecutionWish,
    TargetStatement,
    find_refusal,
    find_target,
    make_entry,
)
from persistence.limits import measure_room
from persistence.sessions import OrgSession
from persistence.workflow_errors import WorkflowNotFound


def add_batch(
    session: OrgSession, wish: ExecutionWish, inputs: Sequence[JsonObject], *, batch_id: str
) -> list[ExecutionId]:
    """Queue an execution for each input; see `add_encoded_batch`."""
    return add_encoded_batch(session, wish, [*map(encode_json, inputs)], batch_id=batch_id)


def add_encoded_batch(
    session: OrgSession, wish: ExecutionWish, inputs: Sequence[str], *, batch_id: str
) -> list[ExecutionId]:
    """Queue an execution for each input, all or none, with one audit entry.

    A batch that is there already grows. Large ones take several statements: what is built in
    memory for one of them stays small.

    Args:
        inputs: each a JSON object as text; they are checked already.

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
    target = find_target(session, wish, _FIND, {})
    if target is None:
        raise WorkflowNotFound(wish.workflow)
    refusal = find_refusal(session, wish, target, now=now)
    if refusal is not None:
        raise refusal
    ids = [new_execution_id() for _ in inputs]
    shared = {
        "org_id": session.org_id,
        "workflow_id": target.id,
        "version": target.version,
        "priority": wish.priority,
        "requested_by": session.user_id,
        "now": now,
        "labels": json.dumps(wish.labels),
        "batch_id": batch_id,
        "deadline": wish.deadline,
    }
    for part in _cut(inputs):
        array = f"[{','.join(inputs[part])}]"
        session.execute(_ADD_MANY, {**shared, "ids": ids[part], "inputs": array})
    entry = make_entry(session, "execution.batch_created", "batch", batch_id, target, now)
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


def list_batch_part(
    session: OrgSession, batch_id: str, first: ExecutionId, last: ExecutionId
) -> list[ExecutionId]:
    """List the executions that one request added to a batch, by its first and last one."""
    rows = session.scalars(_LIST_PART, {"batch_id": batch_id, "first": first, "last": last})
    return [ExecutionId(id) for id in rows]


def _cut(inputs: Sequence[str]) -> Iterator[slice]:
    """Cut a batch into parts of at most `_MAX_STATEMENT_CHARS`, or of a single input."""
    start = chars = 0
    for number, given in enumerate(inputs):
        if number > start and chars + len(given) > _MAX_STATEMENT_CHARS:
            yield slice(start, number)
            start, chars = number, 0
        chars += len(given)
    yield slice(start, len(inputs))


# Nearly every batch is one statement: each makes live events of its own.
_MAX_STATEMENT_CHARS = 4 * 1024 * 1024
_FIND = TargetStatement.of("select t.*, array[]::text[] as added from target t")
# Other requests may have added to the batch in the same moment.
_LIST_PART = text("""
select id from executions where batch_id = :batch_id and id between :first and :last
    and created_at = (select created_at from executions where id = :first)
order by id
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
