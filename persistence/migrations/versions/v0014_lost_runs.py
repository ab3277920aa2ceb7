"""Keep what tells who was the reason when a worker is lost, and how long executions waited again.

Constant defaults only: no row is rewritten. Code of the version before knows none of the columns
and leaves them as they are.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

RUNS = """
alter table runs
    -- When its first agent was asked. Before that its loss is held against nobody.
    add column asked_at timestamptz,
    add column loss_cause text;
"""
EXECUTIONS = """
alter table executions
    -- How many a run may carry, this one included, since a run with it was lost.
    add column run_size_limit integer,
    -- Carried by a process of its own, one run at a time.
    add column is_isolated boolean not null default false,
    add column requeued_at timestamptz,
    -- Seconds that it was queued again, after a run that carried it was lost.
    add column waited_seconds double precision not null default 0;
grant select (run_size_limit, is_isolated) on executions to tenantry_platform;
"""
# Apart from `executions`: an index there would have to be made over all of its rows.
ISOLATIONS = """
create table isolations (
    org_id text not null,
    execution_id text not null,
    primary key (org_id, execution_id)
);
grant select, insert on isolations to tenantry_app;
grant select, delete on isolations to tenantry_platform;
alter table isolations enable row level security;
alter table isolations force row level security;
create policy tenant on isolations to tenantry_app
    using (org_id = (select nullif(current_setting('app.org_id', true), '')))
    with check (org_id = (select nullif(current_setting('app.org_id', true), '')));
create policy platform on isolations to tenantry_platform using (true) with check (true);
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(RUNS)
    op.execute(EXECUTIONS)
    op.execute(ISOLATIONS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
