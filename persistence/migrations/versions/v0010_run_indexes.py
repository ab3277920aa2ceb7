"""Find a run's executions by an index that fits, however many the organization has.

By the run alone the planner guessed too many rows, and read an index of the whole organization
beside it: each run cost more the more executions had ended before.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = """
create index executions_of_run on executions (run_id, org_id) where run_id is not null;
drop index executions_run;
-- Ends that were heard of before their start: nearly always empty.
create index executions_unstarted on executions (run_id)
    where started_at is null and completed_at is not null;
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.execute(INDEXES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
