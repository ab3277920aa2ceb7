"""Keep which requests were answered, so that one that is sent again is answered the same."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLE = """
create table idempotency_keys (
    org_id text not null references organizations (id),
    -- What was asked for: keys of different operations are different keys.
    operation text not null,
    key text not null,
    content_hash bytea not null,
    answer jsonb,
    created_at timestamptz not null default now(),
    primary key (org_id, operation, key)
);
create index idempotency_keys_age on idempotency_keys (org_id, created_at);
grant select, insert, update, delete on idempotency_keys to tenantry_app;
alter table idempotency_keys enable row level security;
alter table idempotency_keys force row level security;
"""
ORG = "nullif(current_setting('app.org_id', true), '')"


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(TABLE)
    op.execute(
        f"create policy tenant on idempotency_keys to tenantry_app "
        f"using (org_id = {ORG}) with check (org_id = {ORG})"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
