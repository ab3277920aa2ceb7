"""Let the queue be fair: weights, limits, quotas, a clock, and who works on it."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LIMITS = """
alter table organizations
    add column weight double precision not null default 1 check (weight between 0.01 and 1000),
    add column max_running integer check (max_running >= 0),
    add column max_queued integer check (max_queued >= 0),
    add column paused_at timestamptz,
    -- How much the queue has served it, in executions divided by its weight.
    add column queue_clock double precision not null default 0,
    -- How many were taken since its part of the queue was last empty.
    add column queue_taken bigint not null default 0;
alter table workflows
    add column max_running integer check (max_running >= 0),
    add column max_batch integer check (max_batch between 1 and 1000),
    add column paused_at timestamptz;
-- How many executions a run was started with.
alter table runs add column size integer not null default 1 check (size >= 0);
update runs r set size = (select count(*) from executions e where e.run_id = r.id)
    where closed_at is null;
create index runs_started on runs (org_id, started_at);
"""

# One row, so that all who claim wait for each other there: what an organization may still start
# is counted and taken in one go.
CLOCK = """
create table queue_clock (
    is_only boolean primary key default true check (is_only),
    time double precision not null default 0
);
insert into queue_clock default values;
create table workers (
    name text primary key,
    slots integer not null check (slots >= 1),
    started_at timestamptz not null default now(),
    expires_at timestamptz not null
);
"""

# Waiting executions lie in lines: of one workflow version, at one priority, the oldest first.
# Rows come and go here faster than anywhere else.
QUEUE = """
drop index executions_queue;
create index executions_queue
    on executions (org_id, workflow_id, workflow_version, priority, id) include (created_at)
    where run_id is null and status in ('PENDING', 'RUNNING') and cancel_requested_at is null;
alter table executions set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);
"""

GRANTS = """
grant update (weight, max_running, max_queued, paused_at) on organizations to tenantry_app;
grant update (queue_clock, queue_taken) on organizations to tenantry_platform;
grant select (deadline) on executions to tenantry_platform;
grant select on queue_clock, workers to tenantry_app;
grant select, update on queue_clock to tenantry_platform;
grant select, insert, update, delete on workers to tenantry_platform;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (LIMITS, CLOCK, QUEUE, GRANTS):
        op.execute(block)
    for table in ("queue_clock", "workers"):
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy platform on {table} to tenantry_platform using (true) with check (true)"
        )
    op.execute("create policy tenant on workers for select to tenantry_app using (false)")
    op.execute("create policy tenant on queue_clock for select to tenantry_app using (false)")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
