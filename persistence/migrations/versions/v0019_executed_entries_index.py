"""Find the audit entries of an execution that hang on another resource."""

from persistence.migrations import online

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    online.create_index(
        "audit_logs_execution",
        on="audit_logs (org_id, execution_id) where execution_id is not null",
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward: expand, release, contract")
