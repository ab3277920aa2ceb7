"""How long lists take with a million executions of fifty organizations, and by which plans.

    .venv/bin/python -m benchmarks.listing [--executions 1000000] [--json]

Median and p95, in milliseconds, of each question over `--rounds` calls, as role `tenantry_app`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from deployments.embedded.stack import open_stack
from deployments.settings import load_settings
from domain.clock import utc_now
from domain.execution_queries import ExecutionFilter, Order, Position
from domain.executions import ExecutionStatus, Trigger
from domain.ids import ExecutionId, OrgId, WorkflowId
from persistence.execution_lists import explain, list_summaries, page_query
from persistence.metrics import Bucket, measure_executions
from persistence.sessions import Database, OrgSession
from tests.support.databases import cluster_of, open_roles
from tests.support.homes import temporary_home

ORGS = 50
PAGE = 20
DEEP_PAGE = 999
Ask = Callable[[OrgSession, OrgId], object]
_DAY = datetime.now(UTC) - timedelta(days=10)
FILTERS: dict[str, ExecutionFilter] = {
    "no filter": ExecutionFilter(),
    "workflow": ExecutionFilter(workflow_id=WorkflowId("wf_001_1")),
    "one status": ExecutionFilter(statuses=frozenset({ExecutionStatus.FAILED})),
    "three statuses": ExecutionFilter(
        statuses=frozenset(
            {ExecutionStatus.FAILED, ExecutionStatus.CANCELLED, ExecutionStatus.PENDING}
        )
    ),
    "trigger": ExecutionFilter(trigger=Trigger.SCHEDULE),
    "error code": ExecutionFilter(error_code="agent.timed_out"),
    "a day": ExecutionFilter(created_after=_DAY, created_before=_DAY + timedelta(days=1)),
    "requester": ExecutionFilter(requested_by="user_7"),
    "batch": ExecutionFilter(batch_id="batch_500"),
    "label": ExecutionFilter(labels=(("team", "t5"),)),
}
FILL = (
    """insert into organizations (id, name, slug)
    select 'org_' || lpad(n::text, 3, '0'), 'Org ' || n, 'org-' || n
    from generate_series(1, :orgs) n""",
    """insert into workflows (id, org_id, name, slug, version)
    select 'wf_' || lpad(o::text, 3, '0') || '_' || w, 'org_' || lpad(o::text, 3, '0'),
        'Workflow ' || w, 'workflow-' || w, 1
    from generate_series(1, :orgs) o, generate_series(1, 4) w""",
    """insert into workflow_versions (org_id, workflow_id, version, definition)
    select org_id, id, 1, '{}' from workflows""",
    # Ids rise with time as TypeIDs do; statuses, triggers and times are spread as in real use.
    """insert into executions (id, org_id, workflow_id, workflow_version, status, trigger,
        input_data, output, error, error_code, error_hint, created_at, started_at, completed_at,
        duration_seconds, requested_by, batch_id, labels, cost, tokens_used)
    select 'exec_' || lpad(n::text, 26, '0'), 'org_' || lpad(o::text, 3, '0'),
        'wf_' || lpad(o::text, 3, '0') || '_' || (n % 4 + 1), 1, status,
        (array['api', 'cli', 'schedule', 'batch'])[n % 4 + 1],
        '{"text": "find leads"}', case when status = 'COMPLETED' then '{"found": 3}'::jsonb end,
        case when status = 'FAILED' then 'It did not work.' end,
        case when status = 'FAILED'
            then (array['agent.failed', 'agent.timed_out', 'data.not_found'])[n % 3 + 1] end,
        case when status = 'FAILED' then 'Try again.' end,
        at, case when status not in ('PENDING', 'CANCELLED') then at + interval '1 s' end,
        case when status in ('COMPLETED', 'FAILED', 'CANCELLED') then at + interval '3 s' end,
        case when status in ('COMPLETED', 'FAILED') then 2 end,
        'user_' || n % 20, case when n % 10 = 0 then 'batch_' || n / 1000 end,
        case when n % 5 = 0 then jsonb_build_object('team', 't' || n % 50) else '{}' end,
        0.001, 10
    from (
        select n, n % :orgs + 1 as o,
            now() - interval '30 days' * (1 - n::float / :rows) as at,
            (array['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED',
                'COMPLETED', 'FAILED', 'CANCELLED', 'PENDING'])[(n / :orgs) % 10 + 1] as status
        from generate_series(1, :rows) n
    ) made""",
)


def fill(superuser: str, *, rows: int) -> None:
    """Write the rows as the superuser, past policies, and let Postgres learn about them."""
    engine = create_engine(superuser, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        for statement in FILL:
            connection.execute(text(statement), {"orgs": ORGS, "rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def orgs() -> list[OrgId]:
    """Name the organizations."""
    return [OrgId(f"org_{number:03d}") for number in range(1, ORGS + 1)]


def find_deep_positions(database: Database) -> dict[OrgId, Position]:
    """Find where page 1,000 begins in each organization; as many rows as there are, if fewer."""
    found: dict[OrgId, Position] = {}
    query = text("select created_at, id from executions order by id desc offset :skip limit 1")
    for org_id in orgs():
        with database.org(org_id) as session:
            held = session.scalars(text("select count(*) from executions")).one()
            skip = max(min(DEEP_PAGE * PAGE, held - PAGE) - 1, 0)
            row = session.execute(query, {"skip": skip}).one()
        found[org_id] = Position(row.created_at, ExecutionId(row.id))
    return found


def measure(database: Database, ask: Ask, *, rounds: int) -> tuple[float, float]:
    """Return median and p95 of a question, in milliseconds, transaction included."""
    times: list[float] = []
    names = orgs()
    # Once round all organizations first: what is measured is the query, not a cold cache.
    for number in range(-ORGS, rounds):
        org_id = names[number % ORGS]
        started = time.perf_counter()
        with database.org(org_id) as session:
            ask(session, org_id)
        if number >= 0:
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), sorted(times)[int(len(times) * 0.95)]


def show_plan(database: Database, wanted: ExecutionFilter) -> str:
    """Give the plan of a filter's first page."""
    query = page_query(wanted, order=Order.NEWEST, after=None, limit=PAGE)
    with database.org(orgs()[0]) as session:
        return "\n".join(_outline(explain(session, query)))


def _outline(node: dict[str, Any], depth: int = 1) -> list[str]:
    where = node.get("Index Name") or node.get("Relation Name") or ""
    lines = [f"{'  ' * depth}{node['Node Type']} {where}".rstrip()]
    for key in ("Index Cond", "Filter"):
        if key in node:
            lines.append(f"{'  ' * depth}  {key}: {node[key]}")
    for child in node.get("Plans", []):
        lines += _outline(child, depth + 1)
    return lines


def questions(deep: dict[OrgId, Position]) -> dict[str, Ask]:
    """All questions, by name."""
    now = utc_now()

    def page(wanted: ExecutionFilter) -> Ask:
        return lambda session, _: list_summaries(session, wanted, limit=PAGE)

    found = {f"page 1, {name}": page(wanted) for name, wanted in FILTERS.items()}
    found["page 1,000, no filter"] = lambda session, org_id: list_summaries(
        session, ExecutionFilter(), after=deep[org_id], limit=PAGE
    )
    for name, days, bucket in (("one day by hour", 1, Bucket.HOUR), ("30 days", 30, Bucket.DAY)):
        found[f"metrics, {name}"] = lambda session, _, days=days, bucket=bucket: measure_executions(
            session,
            since=now - timedelta(days=days),
            until=now,
            bucket=bucket,
            group_by=None,
            limit=1000,
        )
    return found


def main() -> None:
    """Fill a database of its own, ask everything, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with temporary_home() as home:
        settings = load_settings({"TENANTRY_HOME": str(home)})
        with open_stack(settings, ("postgres",)) as stack:
            cluster = cluster_of(stack.superuser_url, stack.database_url)
            url = cluster.copy(cluster.make_template())
            superuser = cluster.as_superuser(url).render_as_string(hide_password=False)
            fill(superuser, rows=options.executions)
            with open_roles(url) as database:
                asked = questions(find_deep_positions(database))
                found = {
                    name: measure(database, ask, rounds=options.rounds)
                    for name, ask in asked.items()
                }
                plans = {name: show_plan(database, wanted) for name, wanted in FILTERS.items()}
    if options.json:
        sys.stdout.write(json.dumps({"ms": found, "plans": plans}) + "\n")
        return
    for name, (median, p95) in found.items():
        sys.stdout.write(f"{name:40} median {median:7.2f} ms   p95 {p95:7.2f} ms\n")
    ratio = found["page 1,000, no filter"][0] / found["page 1, no filter"][0]
    sys.stdout.write(f"page 1,000 over page 1: {ratio:.2f}\n")
    for name, plan in plans.items():
        sys.stdout.write(f"\nplan of {name}:\n{plan}\n")


if __name__ == "__main__":
    main()
