"""What can be wrong when a workflow is found, changed or run."""

from collections.abc import Sequence

from domain.errors import ErrorCode, Problem, TenantryError
from domain.text import quote


class WorkflowNotFound(TenantryError):
    """This organization has no such workflow."""

    code = ErrorCode.WORKFLOW_NOT_FOUND

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"There is no workflow `{reference}` in this organization.",
            hint="Give its id, name or slug; `tenantry workflows list` shows them.",
        )


class WorkflowNameTaken(TenantryError):
    """A second workflow of one name would be told from the first by nobody."""

    code = ErrorCode.WORKFLOW_NAME_TAKEN

    def __init__(self, name: str) -> None:
        super().__init__(
            f"This organization has a workflow named `{name}` already.",
            hint="Choose another name, or add a version to that workflow.",
        )


class WorkflowChanged(TenantryError):
    """Somebody else has added a version since the one that this change was made from."""

    code = ErrorCode.WORKFLOW_CHANGED

    def __init__(self, newest: int) -> None:
        super().__init__(
            f"The workflow was changed meanwhile: its newest version is {newest}.",
            hint="Read it again, make your change in that version, and send its `ETag` as "
            "`If-Match`.",
        )


class WorkflowNotRunnable(TenantryError):
    """A workflow, or the version that is asked for, cannot be executed."""

    code = ErrorCode.WORKFLOW_NOT_RUNNABLE

    @classmethod
    def archived(cls, name: str) -> "WorkflowNotRunnable":
        """Make the error for a workflow that is out of use."""
        return cls(f"{quote(name)} is archived.", hint="Restore it, or run another workflow.")

    @classmethod
    def draft(cls, name: str, version: int) -> "WorkflowNotRunnable":
        """Make the error for a version with problems."""
        return cls(
            f"Version {version} of {quote(name)} is a draft with problems.",
            hint="Mend the problems that `GET /workflows/{ref}/versions/{n}` lists, and save it "
            "as a new version.",
        )

    @classmethod
    def incomplete(cls, name: str, problems: Sequence[Problem]) -> "WorkflowNotRunnable":
        """Make the error for a workflow that reads from what is not there."""
        more = f" And {len(problems) - 1} more like it." if len(problems) > 1 else ""
        first = problems[0]
        return cls(f"{quote(name)} cannot run: {first.message}{more}", hint=first.hint)


class WorkflowArchived(TenantryError):
    """A workflow that is out of use is to be changed."""

    code = ErrorCode.WORKFLOW_ARCHIVED

    def __init__(self, name: str) -> None:
        super().__init__(f"{quote(name)} is archived.", hint="Restore it, then change it.")
