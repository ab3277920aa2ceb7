"""Keep which agent types a workflow version needs, and which ones a worker carries.

Both may be null: of a version that code before this stored, its definition says it; of a worker
that runs such code nobody knows, and it is given everything, as before.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TYPES = """
alter table workflow_versions add column agent_types text[];
alter table workers add column agent_types text[];
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(TYPES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
