"""Keep drafts with their problems, let members leave, and let organizations be made as tenants."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DRAFTS = """
-- null: it has none, and can be executed.
alter table workflow_versions add column problems jsonb;
-- The newest version, where it is a draft; `version` stays the one that runs.
alter table workflows add column draft_version integer;
alter table workflows add check (draft_version >= version);
create index workflows_name on workflows (org_id, name, id);
"""

# A tenant's session makes organizations and users, so that row and audit entry share one
# transaction: an organization only under the id that the session is for, by its policy. A user
# whom it has just made is not visible before the membership, which needs the user: hence the
# policy of its own for inserting.
PEOPLE = """
alter table memberships add column removed_at timestamptz;
grant update (removed_at) on memberships to tenantry_app;
grant insert on organizations, users to tenantry_app;
create policy tenant_adds on users for insert to tenantry_app with check (true);
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    for block in (DRAFTS, PEOPLE):
        op.execute(block)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
