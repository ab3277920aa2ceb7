"""Add what the REST API needs: tokens, the catalogue of agent types, labels and batches."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ORG = "(select nullif(current_setting('app.org_id', true), ''))"

IDENTITY = """
alter table users add column platform_admin boolean not null default false;
create table api_tokens (
    id text primary key,
    org_id text not null references organizations (id),
    user_id text not null references users (id),
    name text not null,
    -- The first characters, to tell tokens apart; the rest is known to its owner only.
    prefix text not null,
    hash bytea not null unique check (length(hash) = 32),
    -- null: all that its owner may do.
    scopes text[],
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    last_used_at timestamptz,
    foreign key (org_id, user_id) references memberships (org_id, user_id)
);
create index api_tokens_org on api_tokens (org_id, id desc);
create table agent_types (
    type text primary key,
    description text not null,
    config_schema jsonb not null,
    example jsonb not null,
    updated_at timestamptz not null default now()
);
"""

EXECUTIONS = """
alter table executions add column labels jsonb not null default '{}';
alter table executions add column batch_id text;
alter table executions add column deadline timestamptz;
alter table workflows add column archived_at timestamptz;
-- One index per filter, each ending in the id, by which lists are sorted and paged.
create index executions_status on executions (org_id, status, id desc);
create index executions_trigger on executions (org_id, trigger, id desc);
create index executions_requester on executions (org_id, requested_by, id desc);
create index executions_error on executions (org_id, error_code, id desc)
    where error_code is not null;
create index executions_batch on executions (org_id, batch_id, id desc)
    where batch_id is not null;
create index executions_created on executions (org_id, created_at desc, id desc);
create index executions_labels on executions using gin (labels jsonb_path_ops)
    where labels <> '{}';
create index audit_logs_action on audit_logs (org_id, action, seq desc);
create index audit_logs_user on audit_logs (org_id, user_id, seq desc);
create index audit_logs_time on audit_logs (org_id, timestamp desc);
"""

GRANTS = """
grant select on api_tokens, agent_types to tenantry_app;
grant insert on api_tokens to tenantry_app;
grant update (revoked_at) on api_tokens to tenantry_app;
grant update (role) on memberships to tenantry_app;
grant insert on memberships to tenantry_app;
grant select (id, org_id, user_id, hash, scopes, expires_at, revoked_at, last_used_at)
    on api_tokens to tenantry_platform;
grant update (last_used_at) on api_tokens to tenantry_platform;
grant select on agent_types to tenantry_platform;
grant update (platform_admin) on users to tenantry_platform;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (IDENTITY, EXECUTIONS, GRANTS):
        op.execute(block)
    rule = f"org_id = {ORG}"
    op.execute("alter table api_tokens enable row level security")
    op.execute("alter table api_tokens force row level security")
    op.execute(
        f"create policy tenant on api_tokens to tenantry_app using ({rule}) with check ({rule})"
    )
    op.execute(
        "create policy platform on api_tokens to tenantry_platform using (true) with check (true)"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
