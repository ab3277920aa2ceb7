"""Workflows and their immutable versions as rows."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.audit import AuditEntry
from domain.catalog import Workflow
from domain.clock import utc_now
from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, WorkflowId, new_workflow_id
from domain.json_data import JsonObject
from persistence.audit import add_audit
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import WorkflowRow, WorkflowVersionRow


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


def add_workflow(
    session: OrgSession, definition: JsonObject, *, name: str, slug: str, description: str
) -> Workflow:
    """Add a workflow with its first version and its audit entry.

    Raises:
        WorkflowNameTaken: the organization has one of that name.
    """
    row = session.scalar(
        insert(WorkflowRow)
        .values(
            id=new_workflow_id(),
            org_id=session.org_id,
            name=name,
            slug=slug,
            description=description,
            version=1,
        )
        .on_conflict_do_nothing(index_elements=["org_id", "slug"])
        .returning(WorkflowRow)
    )
    if row is None:
        raise WorkflowNameTaken(name)
    _add_version(session, row.id, 1, definition)
    _audit(session, "workflow.created", row.id, {"version": 1})
    return _to_workflow(row)


def add_version(
    session: OrgSession, workflow_id: WorkflowId, definition: JsonObject, *, description: str
) -> Workflow:
    """Add a version to a workflow; the same definition again changes nothing.

    Raises:
        WorkflowNotFound: there is no such workflow.
    """
    row = session.scalar(select(WorkflowRow).where(WorkflowRow.id == workflow_id).with_for_update())
    if row is None:
        raise WorkflowNotFound(workflow_id)
    if get_definition(session, workflow_id, version=row.version) == definition:
        return _to_workflow(row)
    row.version += 1
    row.description = description
    row.updated_at = utc_now()
    session.flush()
    _add_version(session, workflow_id, row.version, definition)
    _audit(session, "workflow.versioned", workflow_id, {"version": row.version})
    return _to_workflow(row)


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
    return _to_workflow(row) if row else None


def list_workflows(session: OrgSession) -> list[Workflow]:
    """List all workflows of the organization by name."""
    query = select(WorkflowRow).order_by(WorkflowRow.name, WorkflowRow.id)
    return [_to_workflow(row) for row in session.scalars(query)]


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
    return _to_workflow(row) if row else None


def find_by_deployment(session: PlatformSession, deployment_id: UUID) -> Workflow | None:
    """Find the workflow that a Prefect deployment was published for."""
    row = session.scalar(
        select(WorkflowRow).where(WorkflowRow.prefect_deployment_id == deployment_id)
    )
    return _to_workflow(row) if row else None


def list_all_workflows(session: PlatformSession) -> list[tuple[Workflow, Mapping[str, Any] | None]]:
    """List every organization's workflows with what was last published of them."""
    rows = session.scalars(select(WorkflowRow).order_by(WorkflowRow.id))
    return [(_to_workflow(row), row.published) for row in rows]


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


def _add_version(
    session: OrgSession, workflow_id: str, version: int, definition: JsonObject
) -> None:
    session.execute(
        insert(WorkflowVersionRow).values(
            org_id=session.org_id,
            workflow_id=workflow_id,
            version=version,
            definition=definition,
            created_by=session.user_id,
        )
    )


def _audit(session: OrgSession, action: str, workflow_id: str, details: JsonObject) -> None:
    entry = AuditEntry(
        action=action,
        resource_type="workflow",
        resource_id=workflow_id,
        success=True,
        timestamp=utc_now(),
        user_id=session.user_id,
        details=details,
    )
    add_audit(session, [entry])


def _to_workflow(row: WorkflowRow) -> Workflow:
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
    )
