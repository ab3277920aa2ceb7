"""Definition texts that cannot be read, with the place where reading stopped."""

from domain.errors import ErrorCode, InvalidInput, Problem


class WorkflowUnreadable(InvalidInput):
    """A text is neither the YAML nor the JSON that a workflow definition is written in."""

    code = ErrorCode.WORKFLOW_UNREADABLE
    subject = "workflow definition"


def unreadable(message: str, *, hint: str) -> WorkflowUnreadable:
    """Make the error for a text that is wrong as a whole."""
    return WorkflowUnreadable.one(ErrorCode.WORKFLOW_UNREADABLE, "", message, hint)


def unreadable_at(line: int, column: int, message: str, *, hint: str) -> WorkflowUnreadable:
    """Make the error for one place of a text. Line and column count from 1."""
    return unreadable(f"Line {line}, column {column}: {message}", hint=hint)


def unreadable_here(text: str, index: int, message: str, *, hint: str) -> WorkflowUnreadable:
    """Make the error for one place of a text, given as an index into it, from 0."""
    line = text.count("\n", 0, index) + 1
    column = index - (text.rfind("\n", 0, index) + 1) + 1
    return unreadable_at(line, column, message, hint=hint)


def too_large(message: str, *, hint: str) -> WorkflowUnreadable:
    """Make the error for a text that is not even looked at."""
    return WorkflowUnreadable([Problem(ErrorCode.WORKFLOW_TOO_LARGE, "", message, hint)])
