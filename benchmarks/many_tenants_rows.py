"""Ten thousand organizations with work that waits, and some that have a run open, made by SQL."""

from dataclasses import dataclass
from typing import Any

import psycopg

LINES_EACH = 5
DEEP_ROWS = 1_250
"""What waits in the first line of a deep organization: a share of it is 125, a tenth."""

_ORGANIZATIONS = """
insert into organizations (id, name, slug)
select 'org_t' || lpad(n::text, 6, '0'), 'Tenant ' || n, 'tenant-' || n
from generate_series(1, %(orgs)s) n
"""
_WORKFLOWS = """
insert into workflows (id, org_id, name, slug, version)
select 'wf_' || o.id || '_' || w, o.id, 'Workflow ' || w, 'workflow-' || w, 1
from organizations o, generate_series(1, %(lines)s) w
"""
_VERSIONS = """
insert into workflow_versions (org_id, workflow_id, version, definition)
select org_id, id, 1, '{}' from workflows
"""
# One of each workflow; the first organizations have more of the first.
_EXECUTIONS = """
insert into executions (id, org_id, workflow_id, workflow_version, trigger, priority, input_data,
    created_at)
select 'exec_' || lpad((row_number() over ())::text, 26, '0'), o.id, 'wf_' || o.id || '_' || w, 1,
    'api', 3, '{"n": 1}', now() - interval '30 s' * random()
from (select id, row_number() over (order by id) as place from organizations) o,
    generate_series(1, %(lines)s) w,
    generate_series(1, case when w = 1 and o.place <= %(deep)s then %(rows)s else 1 end)
"""
_RUNS = """
insert into runs (id, org_id, workflow_id, workflow_version, worker, lease_token,
    lease_expires_at, size, started_at, created_at)
select 'run_' || id, id, 'wf_' || id || '_1', 1, 'another', gen_random_uuid(),
    now() + interval '1 hour', 5, now() - interval '1 minute', now() - interval '1 minute'
from organizations order by id desc limit %(open_runs)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large the queue is."""

    orgs: int
    open_runs: int
    deep: int
    """Organizations with `DEEP_ROWS` in one line."""


def fill(connection: psycopg.Connection[Any], shape: Shape) -> int:
    """Make all rows anew, as the superuser; return how many executions wait."""
    # The audit trail refuses it, but for a replica.
    connection.execute("set session_replication_role = replica")
    connection.execute(
        "truncate executions, runs, workflow_versions, workflows, organizations cascade"
    )
    connection.execute("set session_replication_role = origin")
    values = {
        "orgs": shape.orgs,
        "lines": LINES_EACH,
        "deep": shape.deep,
        "rows": DEEP_ROWS,
        "open_runs": shape.open_runs,
    }
    for statement in (_ORGANIZATIONS, _WORKFLOWS, _VERSIONS, _EXECUTIONS, _RUNS):
        connection.execute(statement, values if "%(" in statement else None)
    connection.execute("vacuum analyze")
    row = connection.execute("select count(*) from executions").fetchone()
    return int(row[0]) if row else 0
