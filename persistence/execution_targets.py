"""Which workflow an execution is asked of, and whether it can be executed."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TextClause, text

from domain.audit import AuditEntry
from domain.errors import ErrorCode, InvalidInput, TenantryError
from domain.executions import Trigger
from domain.ids import WorkflowId
from persistence.missing_sources import MISSING_SOURCES, find_version_problems
from persistence.sessions import OrgSession
from persistence.workflow_errors import WorkflowNotFound, WorkflowNotRunnable

MAX_DEADLINE = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionWish:
    """What the executions of one request have in common.

    `workflow` is an id, a slug or a name. Without a `version` it is the one that runs now.
    """

    workflow: str
    version: int | None = None
    priority: int = 3
    deadline: datetime | None = None
    labels: dict[str, str]


class DeadlineInvalid(InvalidInput):
    """An execution would be too late before it began, or waits for longer than we keep it."""

    subject = "deadline"


_TARGET = """
with target as materialized (
    select w.id, w.name, w.archived_at is not null as is_archived,
        coalesce(cast(:version as integer), w.version) as version,
        v.version is null as is_missing, v.problems is not null as is_draft,
        exists ({missing}) as is_incomplete
    from workflows w left join workflow_versions v
        on v.workflow_id = w.id and v.version = coalesce(cast(:version as integer), w.version)
    where {match} limit 1
)
"""
_MISSING = MISSING_SOURCES.format(definition="v.definition")
_BY_ID = "w.id = :workflow"
_BY_ANY = (
    "w.id = :workflow or w.slug = :workflow or lower(w.name) = lower(:workflow) "
    "order by (w.id = :workflow) desc, (w.slug = :workflow) desc"
)


@dataclass(frozen=True, slots=True)
class TargetStatement:
    """A statement about a workflow: by its id, the usual case, or by id, slug or name."""

    by_id: TextClause
    by_any: TextClause

    @classmethod
    def of(cls, rest: str) -> "TargetStatement":
        """Put both before the rest of a statement, which reads from `target`."""
        return cls(
            *(
                text(_TARGET.format(match=match, missing=_MISSING) + rest)
                for match in (_BY_ID, _BY_ANY)
            )
        )


_WORKFLOW_ID = re.compile("wf_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class Target:
    """The workflow that is meant, and whether it can be executed."""

    id: str
    name: str
    is_archived: bool
    version: int
    is_missing: bool
    is_draft: bool
    is_incomplete: bool
    added: frozenset[str]


def find_target(
    session: OrgSession, wish: ExecutionWish, statement: TargetStatement, values: dict[str, Any]
) -> Target | None:
    """Run a statement about the workflow that is meant; `None` if there is no such one."""
    values = {"workflow": wish.workflow, "version": wish.version, **values}
    row = None
    if _WORKFLOW_ID.fullmatch(wish.workflow):
        row = session.execute(statement.by_id, values).first()
    if row is None:
        row = session.execute(statement.by_any, values).first()
    if row is None:
        return None
    return Target(
        id=row.id,
        name=row.name,
        is_archived=row.is_archived,
        version=row.version,
        is_missing=row.is_missing,
        is_draft=row.is_draft,
        is_incomplete=row.is_incomplete,
        added=frozenset(row.added),
    )


def find_refusal(
    session: OrgSession, wish: ExecutionWish, target: Target, *, now: datetime
) -> TenantryError | None:
    """Say why an execution cannot be queued; `None` where it can."""
    if target.is_archived:
        return WorkflowNotRunnable.archived(target.name)
    if target.is_missing:
        return WorkflowNotFound(f"{target.id} version {target.version}")
    if target.is_draft:
        return WorkflowNotRunnable.draft(target.name, target.version)
    if target.is_incomplete:
        id = WorkflowId(target.id)
        problems = find_version_problems(session, id, version=target.version)
        if problems:
            return WorkflowNotRunnable.incomplete(target.name, problems)
    if not is_in_time(wish.deadline, now):
        return DeadlineInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/deadline",
            "The deadline is not between now and 366 days from now.",
            "Choose another time, or leave it out.",
        )
    return None


def is_in_time(deadline: datetime | None, now: datetime) -> bool:
    """Say whether a deadline is one that is kept; none is."""
    return deadline is None or now < deadline <= now + MAX_DEADLINE


def make_entry(
    session: OrgSession, action: str, kind: str, id: str, target: Target, at: datetime
) -> AuditEntry:
    """Make the audit entry of a request for executions."""
    return AuditEntry(
        action=action,
        resource_type=kind,
        resource_id=id,
        success=True,
        timestamp=at,
        user_id=session.user_id,
        details={
            "workflow_id": target.id,
            "version": target.version,
            "trigger": Trigger.API.value,
        },
    )
