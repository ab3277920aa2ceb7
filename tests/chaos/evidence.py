"""What is left after a run: every row, what Prefect says, what agents did, what was accepted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from domain.json_data import JsonObject
from domain.runs import TERMINAL, StateType
from persistence.audit import verify_audit
from persistence.sessions import Database
from tests.chaos.agents import Effect
from tests.chaos.client import Answer
from tests.chaos.load import ORGS

_PAGE = 200
_UNFINISHED = sorted(state.value for state in set(StateType) - TERMINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFact:
    """An execution's row, as far as it is checked."""

    id: str
    org_id: str
    workflow_id: str
    status: str
    attempt: int
    input_data: JsonObject
    output: JsonObject | None
    error_code: str | None
    idempotency_key: str | None
    batch_id: str | None
    is_ordered: bool
    """Whether it was created, started and completed in this order."""
    agents: tuple[str, ...]
    """The agents of its workflow version."""


@dataclass(frozen=True, slots=True)
class AuditFact:
    """An entry of the trail about an execution."""

    org_id: str
    seq: int
    execution_id: str
    action: str


@dataclass(frozen=True, slots=True)
class EventFact:
    """A status that listeners were told of; `place` orders an organization's events."""

    org_id: str
    place: int
    execution_id: str
    status: str


@dataclass(frozen=True, slots=True)
class AgentRunFact:
    """A recorded attempt of an agent; `at` is when it had answered, in seconds since 1970."""

    execution_id: str
    agent: str
    status: str
    at: float


@dataclass(frozen=True, slots=True)
class CounterFact:
    """A workflow's counters."""

    workflow_id: str
    total: int
    completed: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is checked after a run."""

    executions: Sequence[ExecutionFact]
    audit: Sequence[AuditFact]
    events: Sequence[EventFact]
    agent_runs: Sequence[AgentRunFact]
    counters: Sequence[CounterFact]
    broken_chains: Sequence[str]
    open_runs: Sequence[str]
    """Runs of ours that are not closed."""
    unfinished_in_prefect: Sequence[str]
    """Flow runs that are in no terminal state there."""
    unfinished_tasks: int
    """How many task runs are in none."""
    drift: Sequence[str]
    effects: Sequence[Effect]
    answers: Sequence[Answer]
    max_attempts: int


def read_executions(connection: psycopg.Connection[Any]) -> list[ExecutionFact]:
    """Read all executions."""
    rows = connection.execute("""
        select e.id, e.org_id, e.workflow_id, e.status, e.attempt, e.input_data, e.output,
            e.error_code, e.idempotency_key, e.batch_id,
            coalesce(e.created_at <= e.started_at, true)
                and coalesce(e.started_at <= e.completed_at, true)
                and coalesce(e.created_at <= e.completed_at, false),
            array(select a ->> 'name' from jsonb_array_elements(v.definition -> 'agents') a)
        from executions e join workflow_versions v
            on v.workflow_id = e.workflow_id and v.version = e.workflow_version
        order by e.id
    """).fetchall()
    return [
        ExecutionFact(
            id=row[0],
            org_id=row[1],
            workflow_id=row[2],
            status=row[3],
            attempt=row[4],
            input_data=row[5],
            output=row[6],
            error_code=row[7],
            idempotency_key=row[8],
            batch_id=row[9],
            is_ordered=row[10],
            agents=tuple(row[11]),
        )
        for row in rows
    ]


def read_audit(connection: psycopg.Connection[Any]) -> list[AuditFact]:
    """Read what the trails say about executions, each organization's in its order."""
    rows = connection.execute("""
        select org_id, seq, coalesce(execution_id, resource_id),
            case when execution_id is null then action
                else 'execution.' || lower(details ->> 'status') end
        from audit_logs where resource_type = 'execution' or action = 'workflow.executed'
        order by org_id, seq
    """).fetchall()
    return [AuditFact(*row) for row in rows]


def read_events(connection: psycopg.Connection[Any]) -> list[EventFact]:
    """Read all events, each organization's in its order."""
    rows = connection.execute("""
        select v.org_id, v.seq - v.size + u.number, u.id, u.status
        from events v, unnest(v.execution_ids, v.statuses)
            with ordinality as u(id, status, number)
        order by 1, 2
    """).fetchall()
    return [EventFact(*row) for row in rows]


def read_agent_runs(connection: psycopg.Connection[Any]) -> list[AgentRunFact]:
    """Read all recorded attempts of agents."""
    rows = connection.execute("""
        select execution_id, agent_name, status, extract(epoch from completed_at)::float
        from agent_runs order by execution_id, agent_name, attempt
    """).fetchall()
    return [AgentRunFact(*row) for row in rows]


def read_counters(connection: psycopg.Connection[Any]) -> list[CounterFact]:
    """Read all workflows' counters."""
    rows = connection.execute("""
        select id, execution_count, success_count, failure_count, cancelled_count from workflows
    """).fetchall()
    return [CounterFact(*row) for row in rows]


def read_open_runs(connection: psycopg.Connection[Any]) -> list[str]:
    """List our runs that are open."""
    rows = connection.execute("select id from runs where closed_at is null").fetchall()
    return [str(row[0]) for row in rows]


def find_broken_chains(database: Database) -> list[str]:
    """Walk every organization's audit trail."""
    broken: list[str] = []
    for org_id in ORGS:
        with database.org(org_id, snapshot=True) as session:
            found = verify_audit(session)
        if not found.ok:
            broken.append(f"{org_id}: {found}")
    return broken


def list_unfinished_in_prefect(api_url: str) -> list[str]:
    """Ask Prefect for all flow runs that have not ended."""
    asked = {"flow_runs": {"state": {"type": {"any_": _UNFINISHED}}}, "limit": _PAGE}
    answer = httpx.post(f"{api_url}/flow_runs/filter", json=asked, timeout=30)
    return [f"{run['name']} {run['state_type']}" for run in answer.raise_for_status().json()]


def count_unfinished_tasks(api_url: str) -> int:
    """Count Prefect's task runs that have not ended: those of workers that were killed."""
    asked = {"task_runs": {"state": {"type": {"any_": _UNFINISHED}}}}
    answer = httpx.post(f"{api_url}/task_runs/count", json=asked, timeout=30)
    return int(answer.raise_for_status().json())
