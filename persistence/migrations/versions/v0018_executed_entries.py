"""Let an audit entry name the execution that it is about, beside its resource.

`format` says what an entry's seal covers: the entries that are there, and those that older code
writes meanwhile, are of format 1. Their rows are not touched.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(
        "alter table audit_logs add column execution_id text,"
        " add column format smallint not null default 1"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
