"""Workflows and their immutable versions as rows."""

from collections.abc import Sequence
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from domain.catalog import VersionSummary, Workflow, WorkflowVersion
from domain.clock import utc_now
from domain.errors import ErrorCode, Problem
from domain.ids import OrgId, WorkflowId
from domain.json_data import JsonObject
from persistence.audit import note_act
from persistence.carried_types import list_types
from persistence.schedules import list_schedules, remove_schedule
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import WorkflowRow, WorkflowVersionRow
from persistence.workflow_errors import (
    WorkflowArchived,
    WorkflowChanged,
    WorkflowNotFound,
    WorkflowNotRunnable,
)
from persistence.workflow_names import find_named_id, insert_named


def add_workflow(
    session: OrgSession,
    definition: JsonObject,
    *,
    name: str,
    slug: str,
    description: str,
    problems: Sequence[Problem] = (),
) -> Workflow:
    """Add a workflow with its first version and its audit entry.

    Args:
        slug: what the name becomes; if another name became the same, it gets a number.
        problems: what is wrong with the definition; with any it is a draft, and cannot run.

    Raises:
        WorkflowNameTaken: the organization has one of that name.
    """
    row = insert_named(
        session, name=name, slug=slug, description=description, is_draft=bool(problems)
    )
    _store_version(session, row.id, 1, definition, problems)
    note_act(session, "workflow.created", row.id, {"version": 1, "problems": len(problems)})
    return to_workflow(row)


def add_version(
    session: OrgSession,
    workflow_id: WorkflowId,
    definition: JsonObject,
    *,
    description: str,
    problems: Sequence[Problem] = (),
    expected: int | None = None,
) -> Workflow:
    """Add a version to a workflow; the same definition again changes nothing.

    A version with problems is a draft: the one before it goes on being the one that runs.

    Args:
        expected: the number that the newest version must have; without it, any.

    Raises:
        WorkflowNotFound: there is no such workflow.
        WorkflowChanged: the newest version has another number.
        WorkflowArchived: it is out of use.
    """
    row = session.scalar(select(WorkflowRow).where(WorkflowRow.id == workflow_id).with_for_update())
    if row is None:
        raise WorkflowNotFound(workflow_id)
    newest = to_workflow(row).newest_version
    if expected is not None and expected != newest:
        raise WorkflowChanged(newest)
    if row.archived_at is not None:
        raise WorkflowArchived(row.name)
    same = get_definition(session, workflow_id, version=newest) == definition
    if same and bool(problems) == (row.draft_version is not None):
        return to_workflow(row)
    only_drafts = row.draft_version == row.version
    row.draft_version = newest + 1 if problems else None
    if not problems or only_drafts:
        row.version = newest + 1
        row.description = description
    row.updated_at = utc_now()
    session.flush()
    _store_version(session, workflow_id, newest + 1, definition, problems)
    details: JsonObject = {"version": newest + 1, "problems": len(problems)}
    note_act(session, "workflow.versioned", workflow_id, details)
    return to_workflow(row)


def archive_workflow(session: OrgSession, workflow_id: WorkflowId) -> Workflow:
    """Take a workflow out of use, and remove its schedules; doing it again changes nothing.

    What is queued or running goes on.

    Raises:
        WorkflowNotFound: there is no such workflow.
    """
    row = _set_archived(session, workflow_id, is_archived=True)
    if row is not None:
        schedules = list_schedules(session, workflow_id=workflow_id)
        for schedule in schedules:
            remove_schedule(session, schedule.id)
        note_act(session, "workflow.archived", workflow_id, {"schedules_removed": len(schedules)})
    return get_workflow(session, workflow_id)


def restore_workflow(session: OrgSession, workflow_id: WorkflowId) -> Workflow:
    """Take an archived workflow into use again, without its schedules.

    Raises:
        WorkflowNotFound: there is no such workflow.
    """
    if _set_archived(session, workflow_id, is_archived=False) is not None:
        note_act(session, "workflow.restored", workflow_id)
    return get_workflow(session, workflow_id)


def check_runnable(session: OrgSession, workflow: Workflow, *, version: int | None = None) -> int:
    """Make sure that a workflow can be executed; give the version that will run.

    Args:
        version: the one that is wanted; without it, the newest that has no problems.

    Raises:
        WorkflowNotRunnable: it is archived, or this version is a draft.
        WorkflowNotFound: there is no such version.
    """
    if workflow.archived_at is not None:
        raise WorkflowNotRunnable.archived(workflow.name)
    if version is None or version == workflow.version:
        # The usual case costs no query.
        if not workflow.is_runnable:
            raise WorkflowNotRunnable.draft(workflow.name, workflow.version)
        return workflow.version
    if get_version(session, workflow.id, version=version).problems:
        raise WorkflowNotRunnable.draft(workflow.name, version)
    return version


def get_workflow(session: OrgSession, reference: str) -> Workflow:
    """Find a workflow by id, slug or name.

    Raises:
        WorkflowNotFound: there is none.
    """
    found = find_workflow(session, reference)
    if found is None:
        raise WorkflowNotFound(reference)
    return found


def find_workflow(session: OrgSession, reference: str) -> Workflow | None:
    """Find a workflow by id, slug or name; names are compared without case."""
    row = session.scalar(
        select(WorkflowRow)
        .where(
            or_(
                WorkflowRow.id == reference,
                WorkflowRow.slug == reference,
                func.lower(WorkflowRow.name) == reference.lower(),
            )
        )
        .order_by((WorkflowRow.id == reference).desc(), (WorkflowRow.slug == reference).desc())
        .limit(1)
    )
    return to_workflow(row) if row else None


def find_named(session: OrgSession, name: str) -> Workflow | None:
    """Find the workflow of exactly this name, up to case; others may have become the same slug."""
    found = find_named_id(session, name)
    return None if found is None else get_workflow(session, found)


def list_workflows(session: OrgSession) -> list[Workflow]:
    """List all workflows of the organization by name."""
    query = select(WorkflowRow).order_by(WorkflowRow.name, WorkflowRow.id)
    return [to_workflow(row) for row in session.scalars(query)]


def page_workflows(
    session: OrgSession,
    *,
    sort: Literal["name", "id"] = "name",
    after: Sequence[str] | None = None,
    archived: bool | None = False,
    limit: int = 100,
) -> list[Workflow]:
    """List workflows by name, or in the order in which they were made.

    Args:
        after: where the page before ended: name and id, or the id alone.
        archived: only those, or only the others; `None` lists both.
    """
    keys = (WorkflowRow.name, WorkflowRow.id) if sort == "name" else (WorkflowRow.id,)
    query = select(WorkflowRow).order_by(*keys).limit(limit)
    if after is not None:
        query = query.where(tuple_(*keys) > tuple_(*map(literal, after)))
    if archived is not None:
        is_archived = WorkflowRow.archived_at.is_not(None)
        query = query.where(is_archived if archived else ~is_archived)
    return [to_workflow(row) for row in session.scalars(query)]


def get_version(session: OrgSession, workflow_id: WorkflowId, *, version: int) -> WorkflowVersion:
    """Read one version whole.

    Raises:
        WorkflowNotFound: there is no such version.
    """
    row = session.get(WorkflowVersionRow, (workflow_id, version))
    if row is None:
        raise WorkflowNotFound(f"{workflow_id} version {version}")
    return WorkflowVersion(
        version=row.version,
        definition=cast(JsonObject, row.definition),
        problems=tuple(map(_to_problem, row.problems or ())),
        created_by=row.created_by,
        created_at=row.created_at,
    )


def list_versions(
    session: OrgSession, workflow_id: WorkflowId, *, before: int | None = None, limit: int = 100
) -> list[VersionSummary]:
    """List a workflow's versions, the newest first; `before` is the last of the page before."""
    query = (
        select(
            WorkflowVersionRow.version,
            func.coalesce(func.jsonb_array_length(WorkflowVersionRow.problems), 0).label("count"),
            WorkflowVersionRow.created_by,
            WorkflowVersionRow.created_at,
        )
        .where(WorkflowVersionRow.workflow_id == workflow_id)
        .order_by(WorkflowVersionRow.version.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(WorkflowVersionRow.version < before)
    return [
        VersionSummary(
            version=row.version,
            problem_count=row[1],
            created_by=row.created_by,
            created_at=row.created_at,
        )
        for row in session.execute(query)
    ]


def get_definition(session: OrgSession, workflow_id: WorkflowId, *, version: int) -> JsonObject:
    """Read one version's definition.

    Raises:
        WorkflowNotFound: there is no such version.
    """
    definition = session.scalar(
        select(WorkflowVersionRow.definition).where(
            WorkflowVersionRow.workflow_id == workflow_id, WorkflowVersionRow.version == version
        )
    )
    if definition is None:
        raise WorkflowNotFound(f"{workflow_id} version {version}")
    return cast(JsonObject, definition)


def find_owner(session: PlatformSession, workflow_id: WorkflowId) -> Workflow | None:
    """Find any organization's workflow by id, for the worker and the steward."""
    row = session.scalar(select(WorkflowRow).where(WorkflowRow.id == workflow_id))
    return to_workflow(row) if row else None


def find_by_deployment(session: PlatformSession, deployment_id: UUID) -> Workflow | None:
    """Find the workflow in use that a Prefect deployment was published for."""
    row = session.scalar(
        select(WorkflowRow).where(
            WorkflowRow.prefect_deployment_id == deployment_id,
            WorkflowRow.archived_at.is_(None),
        )
    )
    return to_workflow(row) if row else None


def set_published(
    session: PlatformSession,
    workflow_id: WorkflowId,
    *,
    deployment_id: UUID,
    published: JsonObject,
) -> None:
    """Note which Prefect deployment a workflow has, and what it was published with."""
    session.execute(
        update(WorkflowRow)
        .where(WorkflowRow.id == workflow_id)
        .values(prefect_deployment_id=deployment_id, published=published)
    )


def _store_version(
    session: OrgSession,
    workflow_id: str,
    version: int,
    definition: JsonObject,
    problems: Sequence[Problem],
) -> None:
    session.execute(
        insert(WorkflowVersionRow).values(
            org_id=session.org_id,
            workflow_id=workflow_id,
            version=version,
            definition=definition,
            agent_types=list_types(definition),
            created_by=session.user_id,
            problems=[dict(problem.as_json()) for problem in problems] or None,
        )
    )


def _set_archived(
    session: OrgSession, workflow_id: WorkflowId, *, is_archived: bool
) -> WorkflowRow | None:
    """Change it, or return `None` where it is so already."""
    was = WorkflowRow.archived_at.is_(None) if is_archived else WorkflowRow.archived_at.is_not(None)
    return session.scalar(
        update(WorkflowRow)
        .where(WorkflowRow.id == workflow_id, was)
        .values(archived_at=utc_now() if is_archived else None, updated_at=utc_now())
        .returning(WorkflowRow)
    )


def _to_problem(stored: object) -> Problem:
    fields = cast("dict[str, str]", stored)
    return Problem(ErrorCode(fields["code"]), fields["pointer"], fields["message"], fields["hint"])


def to_workflow(row: WorkflowRow) -> Workflow:
    """Turn a row into what the other floors know."""
    return Workflow(
        id=WorkflowId(row.id),
        org_id=OrgId(row.org_id),
        name=row.name,
        slug=row.slug,
        description=row.description,
        version=row.version,
        execution_count=row.execution_count,
        success_count=row.success_count,
        failure_count=row.failure_count,
        cancelled_count=row.cancelled_count,
        created_at=row.created_at,
        updated_at=row.updated_at,
        prefect_deployment_id=row.prefect_deployment_id,
        draft_version=row.draft_version,
        archived_at=row.archived_at,
    )
