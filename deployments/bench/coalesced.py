"""Tenantry, coalesced: many executions of several organizations through the queue, every row."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import psycopg

from deployments.bench.agents import AGENTS
from deployments.bench.failures import BenchFailed
from deployments.bench.figures import Facts, Measured
from deployments.bench.ground import Ground
from deployments.bench.steps import expected_output, make_input
from deployments.bench.tenants import USER, Tenant
from persistence.execution_batches import add_batch
from persistence.execution_targets import ExecutionWish

_LOOK_S = 0.05
_QUIET_LIMIT_S = 60.0
_PAGE = 5_000

_COUNTERS = """
select coalesce(sum(success_count), 0), coalesce(sum(failure_count), 0)
from workflows where id = any(%s)
"""
_EXECUTIONS = """
select count(*), count(*) filter (where status = 'COMPLETED'),
    count(*) filter (where status in ('FAILED', 'CANCELLED')), count(distinct run_id)
from executions where batch_id = %s
"""
_ROWS = """
with done as (select id from executions where batch_id = %s and status = 'COMPLETED')
select
    (select count(*) from agent_runs a join done on done.id = a.execution_id
        where a.status = 'COMPLETED'),
    (select count(*) from audit_logs l join done on done.id = l.resource_id
        where l.action = 'execution.started'),
    (select count(*) from audit_logs l join done on done.id = l.execution_id
        where l.action = 'workflow.executed' and l.success),
    (select count(*) from (select unnest(execution_ids) as id, unnest(statuses) as status
        from events) v join done using (id) where v.status = 'COMPLETED')
"""
# What the claim passes over: an execution that somebody wants cancelled.
_GIVE_UP = """
update executions set cancel_requested_at = now()
where batch_id = %s and run_id is null and completed_at is null
"""
_UNDER_WAY = """
select count(*) from executions
where batch_id = %s and run_id is not null and completed_at is null
"""
_OUTPUTS = """
select id, (input_data->>'number')::int, output from executions
where batch_id = %s and status = 'COMPLETED' and id > %s order by id limit %s
"""


def measure_coalesced(
    ground: Ground, tenants: Sequence[Tenant], *, executions: int, limit_s: float
) -> Measured:
    """Queue executions of all tenants and wait until all are done, or the time is up.

    The clock starts before the first row is written, and stops when the last execution counts as
    a success in its workflow's statistics. The answer's `check` looks at all the rows.

    Raises:
        BenchFailed: executions fail, or do not end.
    """
    batch_id = f"bench-{uuid4().hex[:12]}"
    ids = [tenant.workflow.id for tenant in tenants]
    with ground.connect() as connection:
        before = _counters(connection, ids)
        started = time.monotonic()
        _queue(ground, tenants, executions, batch_id)
        done, elapsed_s = _wait(connection, ids, before, executions, started, limit_s)
        is_cut = done < executions
        if is_cut:
            _wait_quiet(connection, batch_id)
        after = _counters(connection, ids)

    def check() -> Facts:
        with ground.connect() as connection:
            completed, runs = check_rows(
                connection,
                batch_id,
                queued=executions,
                succeeded=after[0] - before[0],
                failed=after[1] - before[1],
                all_done=not is_cut,
            )
        return {"flow runs": runs, "mean batch": round(completed / max(runs, 1), 1)}

    return Measured(
        count=done,
        elapsed_s=elapsed_s,
        cut_off_of=executions if is_cut else None,
        ended=after[0] - before[0],
        check=check,
    )


def check_rows(
    connection: psycopg.Connection[Any],
    batch_id: str,
    *,
    queued: int,
    succeeded: int,
    failed: int,
    all_done: bool,
) -> tuple[int, int]:
    """Hold what a batch has left in the tables against what it must have left.

    Args:
        succeeded: by how much the workflows' success counters have grown; `failed` likewise.

    Returns:
        How many are completed, and how many runs carried them.

    Raises:
        BenchFailed: it names the first figure that is wrong.
    """
    # What was written in one go is unknown to the planner, who would join it row by row.
    connection.execute("analyze executions, agent_runs, audit_logs, events")
    total, completed, ended_otherwise, runs = _row(connection, _EXECUTIONS, batch_id)
    _expect("executions", total, queued)
    _expect("executions that failed or were cancelled", ended_otherwise, 0)
    if all_done:
        _expect("completed executions", completed, queued)
    _expect("successes in the statistics", succeeded, completed)
    _expect("failures in the statistics", failed, 0)
    agent_runs, audit_started, audit_completed, events = _row(connection, _ROWS, batch_id)
    _expect("agent runs", agent_runs, completed * len(AGENTS))
    _expect("audit rows of starts", audit_started, completed)
    _expect("audit rows of ends", audit_completed, completed)
    _expect("events of ends", events, completed)
    _check_outputs(connection, batch_id, completed)
    return completed, runs


def _queue(ground: Ground, tenants: Sequence[Tenant], executions: int, batch_id: str) -> None:
    share, rest = divmod(executions, len(tenants))
    first = 0
    for place, tenant in enumerate(tenants):
        number = share + (1 if place < rest else 0)
        if number == 0:
            return
        with ground.database.org(tenant.org_id, user_id=USER) as session:
            wish = ExecutionWish(workflow=tenant.workflow.id, labels={})
            inputs = [make_input(each) for each in range(first, first + number)]
            add_batch(session, wish, inputs, batch_id=batch_id)
        first += number


def _wait(
    connection: psycopg.Connection[Any],
    ids: Sequence[str],
    before: tuple[int, int],
    executions: int,
    started: float,
    limit_s: float,
) -> tuple[int, float]:
    while True:
        success, failure = _counters(connection, ids)
        done, elapsed_s = success - before[0], time.monotonic() - started
        if failure > before[1]:
            raise BenchFailed(f"{failure - before[1]} executions failed.")
        if done >= executions or elapsed_s > limit_s:
            return done, elapsed_s
        time.sleep(_LOOK_S)


def _wait_quiet(connection: psycopg.Connection[Any], batch_id: str) -> None:
    """Take the rest out of the queue, and let what is under way end."""
    connection.execute(_GIVE_UP, [batch_id])
    deadline = time.monotonic() + _QUIET_LIMIT_S
    while _row(connection, _UNDER_WAY, batch_id) != (0,):
        if time.monotonic() > deadline:
            raise BenchFailed("The runs under way did not end after the time was up.")
        time.sleep(_LOOK_S)


def _counters(connection: psycopg.Connection[Any], ids: Sequence[str]) -> tuple[int, int]:
    success, failure = _row(connection, _COUNTERS, list(ids))
    return int(success), int(failure)


def _row(connection: psycopg.Connection[Any], statement: str, value: object) -> tuple[Any, ...]:
    row = connection.execute(statement.encode(), [value]).fetchone()
    if row is None:
        raise RuntimeError("an aggregate always has one row")
    return row


def _expect(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise BenchFailed(f"There are {found:,} {what}, and there must be {wanted:,}.")


def _check_outputs(connection: psycopg.Connection[Any], batch_id: str, completed: int) -> None:
    last, numbers = "", set[int]()
    while True:
        rows = connection.execute(_OUTPUTS, [batch_id, last, _PAGE]).fetchall()
        wrong = [row[0] for row in rows if row[2] != expected_output(row[1])]
        if wrong:
            raise BenchFailed(f"The execution {wrong[0]} has a wrong output.")
        numbers.update(row[1] for row in rows)
        if len(rows) < _PAGE:
            break
        last = rows[-1][0]
    _expect("different outputs", len(numbers), completed)


def table_sizes(connection: psycopg.Connection[Any]) -> Mapping[str, tuple[int, int, int]]:
    """Map our largest tables to rows, and to bytes of the table and of its indexes."""
    rows = connection.execute(
        "select c.relname, c.oid::regclass::text, pg_table_size(c.oid), pg_indexes_size(c.oid)"
        " from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        " order by pg_total_relation_size(c.oid) desc limit 8"
    ).fetchall()
    sizes: dict[str, tuple[int, int, int]] = {}
    for name, quoted, table, indexes in rows:
        count = connection.execute(f"select count(*) from {quoted}".encode()).fetchone()
        sizes[name] = (int(count[0]) if count else 0, int(table), int(indexes))
    return sizes
