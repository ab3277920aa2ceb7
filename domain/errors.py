"""The one error hierarchy: a stable code, what happened, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self


class ErrorCode(StrEnum):
    """Public names for what went wrong: `<noun>.<participle>`, never renamed or reused."""

    # The workflow's owner must act.
    WORKFLOW_INVALID = "workflow.invalid"
    WORKFLOW_UNREADABLE = "workflow.unreadable"
    WORKFLOW_TOO_LARGE = "workflow.too_large"
    WORKFLOW_NOT_FOUND = "workflow.not_found"
    WORKFLOW_NAME_TAKEN = "workflow.name_taken"
    WORKFLOW_CHANGED = "workflow.changed"
    WORKFLOW_NOT_RUNNABLE = "workflow.not_runnable"
    WORKFLOW_ARCHIVED = "workflow.archived"
    GRAPH_EMPTY = "graph.empty"
    GRAPH_CYCLIC = "graph.cyclic"
    GRAPH_EDGE_DANGLING = "graph.edge_dangling"
    GRAPH_EDGE_REPEATED = "graph.edge_repeated"
    GRAPH_AGENT_DUPLICATED = "graph.agent_duplicated"
    GRAPH_AGENT_UNREACHABLE = "graph.agent_unreachable"
    GRAPH_ENTRY_UNKNOWN = "graph.entry_unknown"
    AGENT_TYPE_UNKNOWN = "agent.type_unknown"
    AGENT_TYPE_NOT_FOUND = "agent_type.not_found"
    AGENT_CONFIG_INVALID = "agent.config_invalid"
    AGENT_INPUT_INVALID = "agent.input_invalid"
    AGENT_TIMED_OUT = "agent.timed_out"
    AGENT_FAILED = "agent.failed"
    REQUEST_UNCLEAR = "request.unclear"
    FIELD_INVALID = "field.invalid"
    FIELD_MISSING = "field.missing"
    FIELD_UNKNOWN = "field.unknown"
    # The owner of the data must act.
    CONNECTOR_NOT_FOUND = "connector.not_found"
    CONNECTOR_INVALID = "connector.invalid"
    CONNECTOR_UNREACHABLE = "connector.unreachable"
    CONNECTOR_TIMED_OUT = "connector.timed_out"
    CONNECTOR_NAME_TAKEN = "connector.name_taken"
    DATA_NOT_FOUND = "data.not_found"
    DATA_UNREADABLE = "data.unreadable"
    DATA_TOO_LARGE = "data.too_large"
    DATA_FIELD_MISSING = "data.field_missing"
    # Whoever runs it must act.
    EXECUTION_NOT_FOUND = "execution.not_found"
    EXECUTION_TRANSITION_REFUSED = "execution.transition_refused"
    EXECUTION_INPUT_INVALID = "execution.input_invalid"
    EXECUTION_OUTPUT_MISSING = "execution.output_missing"
    EXECUTION_INPUT_MISSING = "execution.input_missing"
    EXECUTION_LOST = "execution.lost"
    EXECUTION_CANCELLED = "execution.cancelled"
    EXECUTION_DEADLINE_PASSED = "execution.deadline_passed"
    EXECUTION_RUN_DELETED = "execution.run_deleted"
    EXECUTION_IDEMPOTENCY_CONFLICT = "execution.idempotency_conflict"
    EXECUTION_FAILED = "execution.failed"
    QUEUE_FULL = "queue.full"
    SCHEDULE_HELD = "schedule.held_in_prefect"
    SCHEDULE_INVALID = "schedule.invalid"
    SCHEDULE_NOT_FOUND = "schedule.not_found"
    ORGANIZATION_NOT_FOUND = "organization.not_found"
    ORGANIZATION_ID_TAKEN = "organization.id_taken"
    MEMBER_NOT_FOUND = "member.not_found"
    MEMBER_LAST_ADMIN = "member.last_admin"
    TOKEN_NOT_FOUND = "token.not_found"
    TOKEN_INVALID = "token.invalid"
    TOKEN_LIMIT_REACHED = "token.limit_reached"
    PERMISSION_MISSING = "permission.missing"
    REQUEST_INVALID = "request.invalid"
    REQUEST_TOO_LARGE = "request.too_large"
    REQUEST_TOO_MANY = "request.too_many"
    REQUEST_TIMED_OUT = "request.timed_out"
    ROUTE_NOT_FOUND = "route.not_found"
    METHOD_NOT_ALLOWED = "method.not_allowed"
    PRECONDITION_MISSING = "precondition.missing"
    MEDIA_TYPE_UNSUPPORTED = "media_type.unsupported"
    MEDIA_TYPE_REFUSED = "media_type.refused"
    CURSOR_INVALID = "cursor.invalid"
    LEASE_LOST = "lease.lost"
    # The operator must act.
    COMMAND_INVALID = "command.invalid"
    FILE_UNREADABLE = "file.unreadable"
    SETTINGS_INVALID = "settings.invalid"
    DATABASE_UNREACHABLE = "database.unreachable"
    DATABASE_NOT_MIGRATED = "database.not_migrated"
    AUDIT_BROKEN = "audit.broken"
    STACK_START_FAILED = "stack.start_failed"
    STACK_BUSY = "stack.busy"
    PREFECT_UNREACHABLE = "prefect.unreachable"
    PREFECT_REFUSED = "prefect.refused"
    WORKER_START_FAILED = "worker.start_failed"
    LEADERSHIP_LOST = "leadership.lost"
    INTERNAL = "internal.failed"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what somebody gave us, and where.

    `pointer` is an RFC 6901 JSON pointer into the given document (`/agents/1/config/connector`;
    the empty string is the whole document).
    """

    code: ErrorCode
    pointer: str
    message: str
    hint: str

    def as_json(self) -> dict[str, str]:
        """Render for an answer or a column."""
        return {
            "code": self.code.value,
            "pointer": self.pointer,
            "message": self.message,
            "hint": self.hint,
        }


class TenantryError(Exception):
    """Base of all of ours: a `code` for programs, a `message` and a `hint` for people."""

    code: ClassVar[ErrorCode]
    retryable: ClassVar[bool] = False  # would the same call, unchanged, ever succeed?

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    # Prefect pickles what a task raises. The default rebuilds an exception by calling its
    # class with `args`, which no subclass with its own arguments survives.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class InvalidInput(TenantryError):
    """What somebody gave is wrong in one or more places; all of them are in `problems`."""

    code = ErrorCode.FIELD_INVALID
    subject: ClassVar[str] = "input"

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("an InvalidInput needs at least one problem")
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"The {self.subject} is refused: {first.message}{more}", hint=first.hint)
        self.problems = tuple(problems)

    @classmethod
    def one(cls, code: ErrorCode, pointer: str, message: str, hint: str) -> Self:
        """Make an error of a single problem."""
        return cls([Problem(code, pointer, message, hint)])


def _rebuild(
    kind: type[TenantryError], args: tuple[Any, ...], state: dict[str, Any]
) -> TenantryError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
