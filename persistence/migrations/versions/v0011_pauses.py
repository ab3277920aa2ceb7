"""Add pauses: of the whole installation, of Prefect's work pool, and of single schedules."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PAUSES = """
create table pauses (
    -- What is paused: by an operator's command, or because Prefect's work pool is.
    scope text primary key check (scope in ('installation', 'work_pool')),
    paused_at timestamptz not null default now(),
    paused_by text,
    reason text
);
grant select on pauses to tenantry_app;
grant select, insert, update, delete on pauses to tenantry_platform;
"""
# Without a rewrite, and without a look at the rows.
SCHEDULES = """
alter table schedules add column paused_at timestamptz, add column paused_by text;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(PAUSES)
    op.execute(SCHEDULES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
