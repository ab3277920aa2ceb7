"""Keep by which token a token was made, so that it dies with it.

A nullable column: neither a rewrite nor a look at the rows. Tokens that were made
before name no parent, and live as they did.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TOKENS = "alter table api_tokens add column parent_id text"
# Tokens of people who were removed live again when their owners do: they are taken back for good.
# The owner sees no row while the policies are forced upon it.
REMOVED = """
alter table api_tokens no force row level security;
alter table memberships no force row level security;
update api_tokens t set revoked_at = m.removed_at from memberships m
    where m.org_id = t.org_id and m.user_id = t.user_id and m.removed_at is not null
        and t.revoked_at is null;
alter table memberships force row level security;
alter table api_tokens force row level security;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(TOKENS)
    op.execute(REMOVED)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
