"""Make the first tables."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANTS = """
create table organizations (
    id text primary key check (id ~ '^org_[0-9a-z_]{1,90}$'),
    name text not null,
    slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    created_at timestamptz not null default now()
);
create table users (
    id text primary key check (id ~ '^user_[0-9a-z_]{1,90}$'),
    name text not null,
    created_at timestamptz not null default now()
);
create table memberships (
    org_id text not null references organizations (id),
    user_id text not null references users (id),
    role text not null check (role in ('viewer', 'operator', 'editor', 'admin')),
    created_at timestamptz not null default now(),
    primary key (org_id, user_id)
);
create index memberships_user on memberships (user_id);
create table connectors (
    id text primary key,
    org_id text not null references organizations (id),
    name text not null,
    settings jsonb not null,
    created_at timestamptz not null default now(),
    unique (org_id, name)
);
create table datasets (
    org_id text not null references organizations (id),
    name text not null,
    content bytea not null,
    row_count bigint not null,
    size_bytes bigint not null,
    updated_at timestamptz not null default now(),
    primary key (org_id, name)
);
"""

WORKFLOWS = """
create table workflows (
    id text primary key,
    org_id text not null references organizations (id),
    name text not null,
    slug text not null check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    description text not null default '',
    version integer not null check (version >= 1),
    execution_count bigint not null default 0,
    success_count bigint not null default 0,
    failure_count bigint not null default 0,
    cancelled_count bigint not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    prefect_deployment_id uuid,
    published jsonb,
    unique (org_id, id),
    unique (org_id, slug),
    check (execution_count = success_count + failure_count + cancelled_count)
);
create table workflow_versions (
    org_id text not null,
    workflow_id text not null,
    version integer not null check (version >= 1),
    definition jsonb not null,
    created_by text,
    created_at timestamptz not null default now(),
    primary key (workflow_id, version),
    foreign key (org_id, workflow_id) references workflows (org_id, id)
);
create table schedules (
    id text primary key,
    org_id text not null,
    workflow_id text not null,
    cron text not null,
    timezone text not null,
    input_data jsonb not null,
    created_by text,
    created_at timestamptz not null default now(),
    removed_at timestamptz,
    foreign key (org_id, workflow_id) references workflows (org_id, id)
);
create index schedules_workflow on schedules (org_id, workflow_id) where removed_at is null;
"""

EXECUTIONS = """
create table runs (
    id text primary key,
    org_id text not null,
    workflow_id text not null,
    workflow_version integer not null,
    worker text not null,
    lease_token uuid not null,
    lease_expires_at timestamptz not null,
    prefect_flow_run_id uuid unique,
    prefect_state_id uuid,
    prefect_state_type text,
    prefect_state_name text,
    prefect_state_at timestamptz,
    started_at timestamptz,
    created_at timestamptz not null default now(),
    closed_at timestamptz,
    unique (org_id, id),
    foreign key (org_id, workflow_id) references workflows (org_id, id),
    foreign key (workflow_id, workflow_version) references workflow_versions (workflow_id, version)
);
create index runs_open on runs (id) where closed_at is null;
create index runs_closed on runs (closed_at) where closed_at is not null;
create table run_states (
    state_id uuid primary key,
    org_id text not null,
    run_id text not null,
    type text not null,
    name text not null,
    at timestamptz not null,
    foreign key (org_id, run_id) references runs (org_id, id)
);
create index run_states_run on run_states (run_id, at);
create table executions (
    id text primary key,
    org_id text not null,
    workflow_id text not null,
    workflow_version integer not null,
    status text not null default 'PENDING'
        check (status in ('PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED')),
    trigger text not null
        check (trigger in ('api', 'cli', 'schedule', 'prefect_ui', 'batch', 'replay')),
    input_data jsonb not null,
    output jsonb,
    error text,
    error_code text,
    error_hint text,
    agent_results jsonb,
    execution_graph jsonb,
    tokens_used bigint not null default 0,
    cost numeric(18, 8) not null default 0,
    duration_seconds double precision,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    run_id text,
    requested_by text,
    idempotency_key text,
    priority smallint not null default 3 check (priority between 1 and 5),
    attempt integer not null default 1 check (attempt >= 1),
    lease_token uuid,
    cancel_requested_at timestamptz,
    replay_of text,
    prefect_state_id uuid,
    prefect_state_at timestamptz,
    unique (org_id, id),
    unique (org_id, idempotency_key),
    foreign key (org_id, workflow_id) references workflows (org_id, id),
    foreign key (workflow_id, workflow_version) references workflow_versions (workflow_id, version),
    foreign key (org_id, run_id) references runs (org_id, id),
    check (created_at <= started_at),
    check (started_at <= completed_at),
    check (created_at <= completed_at),
    check ((completed_at is not null) = (status in ('COMPLETED', 'FAILED', 'CANCELLED'))),
    check ((error_code is null) = (error is null) and (error is null) = (error_hint is null)),
    check (status <> 'FAILED' or error_code is not null)
);
create index executions_queue on executions (priority, id)
    where run_id is null and status in ('PENDING', 'RUNNING');
create index executions_run on executions (run_id) where run_id is not null;
create index executions_org on executions (org_id, id desc);
create index executions_workflow on executions (org_id, workflow_id, id desc);
create table agent_runs (
    id text primary key,
    org_id text not null,
    execution_id text not null,
    run_id text not null,
    agent_name text not null,
    attempt integer not null check (attempt >= 1),
    status text not null check (status in ('COMPLETED', 'FAILED')),
    data jsonb,
    records jsonb,
    error text,
    error_code text,
    error_hint text,
    retryable boolean not null default false,
    tokens_used bigint not null default 0,
    cost numeric(18, 8) not null default 0,
    duration_seconds double precision not null,
    started_at timestamptz not null,
    completed_at timestamptz not null,
    foreign key (org_id, execution_id) references executions (org_id, id),
    unique (execution_id, agent_name, attempt),
    check ((status = 'COMPLETED') = (data is not null)),
    check ((status = 'FAILED') = (error_code is not null)),
    check (started_at <= completed_at)
);
-- An agent's answer for an execution is kept once: a second one would have been paid for twice.
create unique index agent_runs_answer on agent_runs (execution_id, agent_name)
    where status = 'COMPLETED';
"""

AUDIT = """
create table audit_logs (
    id text primary key,
    org_id text not null references organizations (id),
    user_id text,
    action text not null,
    resource_type text not null,
    resource_id text,
    -- `json`, not `jsonb`: the seal is over the text, and `jsonb` rewrites numbers such as 1e16.
    details json not null,
    ip_address text,
    user_agent text,
    success boolean not null,
    error_message text,
    timestamp timestamptz not null,
    seq bigint not null check (seq >= 1),
    prev_hash bytea not null,
    hash bytea not null,
    unique (org_id, seq)
);
create index audit_logs_resource on audit_logs (org_id, resource_id);
create table audit_heads (
    org_id text primary key references organizations (id),
    seq bigint not null,
    hash bytea not null
);
create function refuse_audit_change() returns trigger language plpgsql as $$
begin
    raise exception 'audit_logs is append-only' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_logs_append_only before update or delete on audit_logs
    for each row execute function refuse_audit_change();
create trigger audit_logs_no_truncate before truncate on audit_logs
    for each statement execute function refuse_audit_change();
"""

# Who may do what. `tenantry_app` acts for one tenant at a time: the policies below show it only
# that tenant's rows. `tenantry_platform` does the few acts across tenants, by policies of its own
# and not by BYPASSRLS, which managed Postgres services do not grant.
GRANTS = """
grant usage on schema public to tenantry_app, tenantry_platform;
grant select on all tables in schema public to tenantry_app;
grant insert, update on connectors, datasets, workflows, schedules, executions, runs, audit_heads
    to tenantry_app;
grant insert on workflow_versions, run_states, agent_runs, audit_logs to tenantry_app;
grant select on organizations, users, memberships, workflows, schedules, runs, alembic_version
    to tenantry_platform;
grant select on workflow_versions to tenantry_platform;
grant insert on organizations, users, memberships to tenantry_platform;
grant insert, update on runs to tenantry_platform;
grant update (prefect_deployment_id, published) on workflows to tenantry_platform;
-- The queue's columns and no payload: what tenants put in and get out is not for this role.
grant select (id, org_id, workflow_id, workflow_version, status, trigger, priority, attempt,
    created_at, run_id, lease_token, cancel_requested_at) on executions to tenantry_platform;
grant update (run_id, lease_token) on executions to tenantry_platform;
"""

ORG_TABLES = (
    "memberships",
    "connectors",
    "datasets",
    "workflows",
    "workflow_versions",
    "schedules",
    "runs",
    "run_states",
    "executions",
    "agent_runs",
    "audit_logs",
    "audit_heads",
)
PLATFORM_TABLES = (
    "organizations",
    "users",
    "memberships",
    "workflows",
    "workflow_versions",
    "schedules",
    "runs",
    "executions",
)
ORG = "(select nullif(current_setting('app.org_id', true), ''))"


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (TENANTS, WORKFLOWS, EXECUTIONS, AUDIT, GRANTS):
        op.execute(block)
    for table in ORG_TABLES:
        _isolate(table, f"org_id = {ORG}")
    _isolate("organizations", f"id = {ORG}")
    # A user may belong to several organizations: each sees only its own members.
    _isolate("users", "exists (select from memberships m where m.user_id = users.id)")
    for table in PLATFORM_TABLES:
        op.execute(
            f"create policy platform on {table} to tenantry_platform using (true) with check (true)"
        )


def _isolate(table: str, rule: str) -> None:
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    op.execute(
        f"create policy tenant on {table} to tenantry_app using ({rule}) with check ({rule})"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
