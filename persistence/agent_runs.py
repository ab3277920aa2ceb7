"""Agent runs as rows: what each agent answered for each execution, kept as soon as it has."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from domain.agent_runs import AgentRun
from domain.errors import ErrorCode
from domain.ids import AgentRunId, ExecutionId, RunId
from domain.json_data import JsonObject
from domain.outcomes import AgentOutcome, AgentValue, Failure, Usage
from domain.runs import Run
from persistence.runs import hold_lease
from persistence.sessions import OrgSession
from persistence.tables import AgentRunRow


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
    ids = [item.execution_id for item in finished]
    counts = session.execute(
        select(AgentRunRow.execution_id, func.max(AgentRunRow.attempt))
        .where(AgentRunRow.execution_id.in_(ids), AgentRunRow.agent_name == agent_name)
        .group_by(AgentRunRow.execution_id)
    )
    attempts: dict[str, int] = {execution_id: attempt for execution_id, attempt in counts}
    rows: list[dict[str, object]] = []
    for item in finished:
        attempts[item.execution_id] = attempts.get(item.execution_id, 0) + 1
        rows.append(_to_row(session, run.id, agent_name, item, attempts[item.execution_id]))
    session.execute(insert(AgentRunRow).on_conflict_do_nothing(), rows)


def list_agent_runs(session: OrgSession, ids: Sequence[ExecutionId]) -> list[AgentRun]:
    """List all agent runs of some executions, by start."""
    query = (
        select(AgentRunRow)
        .where(AgentRunRow.execution_id.in_(ids))
        .order_by(AgentRunRow.started_at, AgentRunRow.attempt)
    )
    return [_to_agent_run(row) for row in session.scalars(query)]


def _to_row(
    session: OrgSession, run_id: RunId, agent_name: str, item: AgentRun, attempt: int
) -> dict[str, object]:
    value, failure = item.outcome.value, item.outcome.failure
    return {
        "id": item.id,
        "org_id": session.org_id,
        "execution_id": item.execution_id,
        "run_id": run_id,
        "agent_name": agent_name,
        "attempt": attempt,
        "status": "COMPLETED" if value else "FAILED",
        "data": value.data if value else None,
        "records": list(value.records) if value and value.records is not None else None,
        "error": failure.message if failure else None,
        "error_code": failure.code.value if failure else None,
        "error_hint": failure.hint if failure else None,
        "retryable": failure.retryable if failure else False,
        "tokens_used": item.outcome.usage.tokens,
        "cost": item.outcome.usage.cost_usd,
        "duration_seconds": item.outcome.duration_s,
        "started_at": item.started_at,
        "completed_at": max(item.completed_at, item.started_at),
    }


def _to_agent_run(row: AgentRunRow) -> AgentRun:
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
