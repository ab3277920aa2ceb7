"""A million executions of forty-nine organizations, and an organization that was idle meanwhile.

Ids rise with time, as TypeIDs do. What tells executions apart is spread by each organization's own
count of them, so that every filter finds rows in every organization.
"""

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from domain.ids import OrgId

BUSY_ORGS = 49
IDLE_ORG = OrgId("org_idle")
IDLE_ROWS = 50_100
"""All older than everybody else's; enough for a thousand pages of fifty, and some more."""

_ORGANIZATIONS = """
insert into organizations (id, name, slug)
select id, id, replace(id, '_', '-') from (
    select 'org_' || lpad(n::text, 3, '0') as id from generate_series(1, :orgs) n
    union all select :idle
) made
"""
_WORKFLOWS = """
insert into workflows (id, org_id, name, slug, version)
select 'wf_' || replace(o.id, 'org_', '') || '_' || w, o.id, 'Workflow ' || w, 'workflow-' || w, 1
from organizations o, generate_series(1, 4) w
"""
_VERSIONS = """
insert into workflow_versions (org_id, workflow_id, version, definition)
select org_id, id, 1, '{}' from workflows
"""
# `n` counts all rows, and `k` those of an organization. A tenth each failed, was cancelled and
# waits; a fifth has labels.
_EXECUTIONS = """
insert into executions (id, org_id, workflow_id, workflow_version, status, trigger,
    input_data, output, error, error_code, error_hint, created_at, started_at, completed_at,
    duration_seconds, requested_by, batch_id, labels, cost, tokens_used)
select 'exec_' || lpad(n::text, 26, '0'), org_id,
    'wf_' || replace(org_id, 'org_', '') || '_' || (k % 4 + 1), 1, status,
    (array['api', 'api', 'api', 'api', 'cli', 'schedule', 'batch'])[k % 7 + 1],
    '{"text": "find leads"}', case when status = 'COMPLETED' then '{"found": 3}'::jsonb end,
    case when status = 'FAILED' then 'It did not work.' end,
    case when status = 'FAILED'
        then (array['agent.failed', 'agent.timed_out', 'data.not_found'])[k % 3 + 1] end,
    case when status = 'FAILED' then 'Try again.' end,
    at, case when status not in ('PENDING', 'CANCELLED') then at + wait end,
    case when status <> 'PENDING' then at + wait + took end,
    case when status in ('COMPLETED', 'FAILED') then extract(epoch from took) end,
    'user_' || k % 20, case when k % 10 = 0 then 'batch_' || k / 1000 end,
    case when k % 5 = 0
        then jsonb_build_object('team', 't' || k / 5 % 10, 'env', 'prod') else '{}' end,
    0.001, 10
from (
    select n, k, org_id, (array['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED',
            'COMPLETED', 'COMPLETED', 'FAILED', 'CANCELLED', 'PENDING'])[k / 3 % 10 + 1] as status,
        at, k * 7919 % 5003 * interval '1 ms' as wait, k * 9973 % 60013 * interval '1 ms' as took
    from (
        select n, n as k, :idle as org_id,
            now() - interval '60 days' + interval '29 days' * (n::float / :idle_rows) as at
        from generate_series(1, :idle_rows) n
        union all
        select :idle_rows + n, n / :orgs, 'org_' || lpad((n % :orgs + 1)::text, 3, '0'),
            now() - interval '30 days' * (1 - n::float / :rows)
        from generate_series(1, :rows) n
    ) numbered
) made
"""
_LABELS = """
insert into execution_labels (org_id, key, value, created_at, execution_id)
select e.org_id, l.key, l.value, e.created_at, e.id
from executions e, jsonb_each_text(e.labels) l where e.labels <> '{}'
"""
_AGENT_RUNS = """
insert into agent_runs (id, org_id, execution_id, run_id, agent_name, attempt, status, data,
    error_code, tokens_used, cost, duration_seconds, started_at, completed_at)
select 'agentrun_' || right(id, 26), org_id, id, 'run_none', 'Finder', 1, status,
    case when status = 'COMPLETED' then '{"found": 3}'::jsonb end, error_code, 10, 0.001,
    duration_seconds, started_at, completed_at
from executions where status in ('COMPLETED', 'FAILED')
"""


def fill(superuser: str, *, rows: int) -> None:
    """Write the rows as the superuser, past policies and triggers; let Postgres learn of them."""
    values = {"orgs": BUSY_ORGS, "idle": IDLE_ORG, "idle_rows": IDLE_ROWS, "rows": rows}
    engine = create_engine(superuser, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        for sql in (_ORGANIZATIONS, _WORKFLOWS, _VERSIONS, _EXECUTIONS, _LABELS, _AGENT_RUNS):
            statement = text(sql)
            wanted = statement.compile().params.keys()
            connection.execute(statement, {name: values[name] for name in wanted})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def busy_orgs() -> list[OrgId]:
    """Name the organizations that share the million."""
    return [OrgId(f"org_{number:03d}") for number in range(1, BUSY_ORGS + 1)]
