"""All that the mirror writes, as plain values: two databases or two moments can be compared."""

from typing import Any

from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

EXECUTIONS = """
select id, status, output, error, error_code, error_hint, agent_results, execution_graph,
    tokens_used, cost, started_at, completed_at, duration_seconds, run_id, attempt,
    prefect_state_id, prefect_state_at from executions order by id
"""
WORKFLOWS = """
select id, execution_count, success_count, failure_count, cancelled_count
from workflows order by id
"""
AUDIT = """
select resource_id, execution_id, action, success, error_message, timestamp, details::text
from audit_logs
where action like 'execution.%' or action = 'workflow.executed'
order by coalesce(execution_id, resource_id), action
"""
RUNS = """
select id, prefect_state_id, prefect_state_type, prefect_state_name, started_at,
    closed_at is null as open from runs order by id
"""


def snapshot(superuser: URL, *, audit: bool = True) -> dict[str, list[Any]]:
    """Read everything as the superuser, whom no policy hides a row from."""
    queries = {"executions": EXECUTIONS, "workflows": WORKFLOWS, "runs": RUNS}
    if audit:
        queries["audit"] = AUDIT
    with create_engine(superuser, poolclass=NullPool).connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(text(query))]
            for name, query in queries.items()
        }
