"""Agent runs as rows: what each agent answered for each execution, kept as soon as it has."""

import json
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, select, text

from domain.agent_runs import AgentRun
from domain.errors import ErrorCode
from domain.ids import AgentRunId, ExecutionId, RunId
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import AgentOutcome, AgentValue, Failure, Usage
from domain.runs import Run
from persistence.happenings_log import agent_end, log_when_committed
from persistence.runs import hold_lease
from persistence.sessions import OrgSession
from persistence.tables import AgentRunRow, ExecutionRow


def add_agent_runs(
    session: OrgSession, run: Run, agent_name: str, finished: Sequence[AgentRun]
) -> None:
    """Keep an agent's outcomes, all or none; what is there already stays as it is.

    Attempts are counted here, over all runs of an execution.

    Raises:
        LeaseLost: the run was taken from this worker: nothing was written.
    """
    hold_lease(session, run)
    if not finished:
        return
    rows = [_to_row(number, item) for number, item in enumerate(finished)]
    session.execute(
        _ADD,
        {
            "org_id": session.org_id,
            "run_id": run.id,
            "agent_name": agent_name,
            "rows": json.dumps(rows, ensure_ascii=False, allow_nan=False),
        },
    )
    log_when_committed(session, (agent_end(run.id, item) for item in finished))


# One statement for the whole batch: the rows travel as one JSON array, in the order in which
# they were finished, by which an execution's attempts are counted.
_ADD = text("""
insert into agent_runs (id, org_id, execution_id, run_id, agent_name, attempt, status, data,
    records, error, error_code, error_hint, retryable, tokens_used, cost, duration_seconds,
    started_at, completed_at)
select r.id, :org_id, r.execution_id, :run_id, :agent_name,
    coalesce(known.attempt, 0) + row_number() over (partition by r.execution_id order by r.number),
    r.status, r.data, r.records, r.error, r.error_code, r.error_hint, r.retryable, r.tokens_used,
    r.cost, r.duration_seconds, r.started_at, r.completed_at
from jsonb_to_recordset(cast(:rows as jsonb)) as r(
    number integer, id text, execution_id text, status text, data jsonb, records jsonb,
    error text, error_code text, error_hint text, retryable boolean, tokens_used bigint,
    cost numeric, duration_seconds double precision, started_at timestamptz,
    completed_at timestamptz)
left join lateral (
    select max(attempt) as attempt from agent_runs a
    where a.org_id = :org_id and a.execution_id = r.execution_id and a.agent_name = :agent_name
) known on true
on conflict do nothing
""")


def list_agent_runs(session: OrgSession, ids: Sequence[ExecutionId]) -> list[AgentRun]:
    """List all agent runs of some executions, by start."""
    return _list(session, AgentRunRow.execution_id.in_(ids))


def list_answers(session: OrgSession, run_id: RunId) -> list[AgentRun]:
    """List what agents have answered, in this run or before, for a run's unfinished executions."""
    carried = select(ExecutionRow.id).where(
        ExecutionRow.run_id == run_id, ExecutionRow.completed_at.is_(None)
    )
    return _list(session, AgentRunRow.execution_id.in_(carried))


def _list(session: OrgSession, which: ColumnElement[bool]) -> list[AgentRun]:
    # Columns and not objects: a run's worth of them is read at once.
    query = (
        select(*AgentRunRow.__table__.columns)
        .where(which)
        .order_by(AgentRunRow.started_at, AgentRunRow.attempt)
    )
    return [_to_agent_run(row) for row in session.execute(query)]


def _to_row(number: int, item: AgentRun) -> dict[str, JsonValue]:
    value, failure = item.outcome.value, item.outcome.failure
    return {
        "number": number,
        "id": item.id,
        "execution_id": item.execution_id,
        "status": "COMPLETED" if value else "FAILED",
        "data": value.data if value else None,
        "records": [*value.records] if value and value.records is not None else None,
        "error": failure.message if failure else None,
        "error_code": failure.code.value if failure else None,
        "error_hint": failure.hint if failure else None,
        "retryable": failure.retryable if failure else False,
        "tokens_used": item.outcome.usage.tokens,
        "cost": str(item.outcome.usage.cost_usd),
        "duration_seconds": item.outcome.duration_s,
        "started_at": item.started_at.isoformat(),
        "completed_at": max(item.completed_at, item.started_at).isoformat(),
    }


def _to_agent_run(row: Row[Any]) -> AgentRun:
    value = failure = None
    if row.status == "COMPLETED":
        records = cast("list[JsonObject] | None", row.records)
        value = AgentValue(
            cast(JsonObject, row.data), tuple(records) if records is not None else None
        )
    else:
        failure = Failure(
            ErrorCode(row.error_code or ""), row.error or "", row.error_hint or "", row.retryable
        )
    return AgentRun(
        id=AgentRunId(row.id),
        execution_id=ExecutionId(row.execution_id),
        run_id=RunId(row.run_id),
        agent_name=row.agent_name,
        attempt=row.attempt,
        outcome=AgentOutcome(
            value=value,
            failure=failure,
            usage=Usage(row.tokens_used, row.cost),
            duration_s=row.duration_seconds,
        ),
        started_at=row.started_at,
        completed_at=row.completed_at,
    )
