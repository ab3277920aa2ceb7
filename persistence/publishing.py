"""Which workflows are to be published to Prefect: rows that triggers write and the steward ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select, text

from domain.catalog import Schedule, Workflow
from domain.errors import ErrorCode
from domain.ids import OrgId, WorkflowId
from persistence.schedules import list_schedules_of
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import WorkflowRow
from persistence.workflows import to_workflow

MAX_BACKOFF_S = 300.0
"""Between two tries at a workflow that Prefect refuses."""

# The first of each organization before the second of any.
_DUE = text("""
select org_id, workflow_id, revision, tries from (
    select org_id, workflow_id, revision, tries, due_at,
        row_number() over (partition by org_id order by due_at, workflow_id) as turn
    from publications where due_at <= clock_timestamp()
) due
order by turn, due_at, workflow_id limit :most
""")
_DONE = text("""
delete from publications
where org_id = :org_id and workflow_id = :workflow_id and revision = :revision
""")
_FAILED = text("""
update publications set tries = tries + 1, error_code = :code, error_message = :message,
    due_at = clock_timestamp()
        + make_interval(secs => least(:max_s, power(2, least(tries, 20))::float))
where org_id = :org_id and workflow_id = :workflow_id and revision = :revision
""")
_INVALID = text("""
update publications set error_code = :code, error_message = :message, due_at = 'infinity'
where org_id = :org_id and workflow_id = :workflow_id and revision = :revision
""")
_PROGRESS = text("""
select count(*) filter (where due_at < 'infinity') as waiting,
    count(*) filter (where error_code is not null) as refused
from publications
""")
_REFUSED = text("""
select org_id, workflow_id, tries, error_code, error_message from publications
where error_code is not null order by org_id, workflow_id limit :most
""")


@dataclass(frozen=True, slots=True)
class Publication:
    """A workflow that is to be published, as it is now, and what was published before."""

    workflow: Workflow
    schedules: Sequence[Schedule]
    published: Mapping[str, Any] | None
    revision: int
    tries: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A workflow that Prefect refused, or that could not be published for another reason."""

    org_id: OrgId
    workflow_id: WorkflowId
    tries: int
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class PublishingProgress:
    """How many workflows wait to be published, those that were refused included."""

    waiting: int
    refused: int


def list_due(session: PlatformSession, *, most: int) -> list[Publication]:
    """List what is to be published now, organizations in turn.

    Ends those that are nothing to publish: drafts that never ran, and workflows that are gone.
    """
    due = session.execute(_DUE, {"most": most}).mappings().all()
    if not due:
        return []
    runs = WorkflowRow.draft_version.is_distinct_from(WorkflowRow.version)
    query = select(WorkflowRow).where(WorkflowRow.id.in_([row["workflow_id"] for row in due]), runs)
    known = {each.workflow.id: each for each in _read(session, session.scalars(query).all())}
    found: list[Publication] = []
    for row in due:
        publication = known.get(row["workflow_id"])
        if publication is not None:
            found.append(replace(publication, revision=row["revision"], tries=row["tries"]))
        else:
            session.execute(_DONE, dict(row))
    return found


def note_published(session: PlatformSession, publication: Publication) -> None:
    """Note that a workflow is published, unless it was changed meanwhile."""
    session.execute(_DONE, _key(publication))


def note_refused(
    session: PlatformSession, publication: Publication, *, code: ErrorCode, message: str
) -> None:
    """Note why a workflow could not be published; it is tried again, later each time."""
    session.execute(
        _FAILED,
        {**_key(publication), "code": code.value, "message": message, "max_s": MAX_BACKOFF_S},
    )


def note_invalid(
    session: PlatformSession, publication: Publication, *, code: ErrorCode, message: str
) -> None:
    """Note that a workflow is published without some schedule of it, which fires nowhere."""
    session.execute(_INVALID, {**_key(publication), "code": code.value, "message": message})


def read_progress(session: PlatformSession) -> PublishingProgress:
    """Count what waits to be published."""
    row = session.execute(_PROGRESS).one()
    return PublishingProgress(row.waiting, row.refused)


def list_refused(session: PlatformSession | OrgSession, *, most: int = 1_000) -> list[Refusal]:
    """List the workflows that could not be published; of an organization, or of all."""
    return [
        Refusal(
            OrgId(row.org_id),
            WorkflowId(row.workflow_id),
            row.tries,
            ErrorCode(row.error_code),
            row.error_message,
        )
        for row in session.execute(_REFUSED, {"most": most})
    ]


def list_published_page(
    session: PlatformSession, *, after: WorkflowId | None, most: int
) -> list[Publication]:
    """List published workflows in the order of their ids, without those that are to be again."""
    query = (
        select(WorkflowRow)
        .where(
            WorkflowRow.id > (after or ""),
            WorkflowRow.prefect_deployment_id.is_not(None),
            _IS_SETTLED,
        )
        .order_by(WorkflowRow.id)
        .limit(most)
    )
    return _read(session, session.scalars(query).all())


def count_workflows(session: PlatformSession) -> int:
    """Count the workflows of all organizations."""
    return session.execute(text("select count(*) from workflows")).scalar_one()


def find_published(session: PlatformSession, deployment_ids: Sequence[object]) -> list[Publication]:
    """Find the workflows of some deployments, without those that are to be published again."""
    query = select(WorkflowRow).where(
        WorkflowRow.prefect_deployment_id.in_(deployment_ids), _IS_SETTLED
    )
    return _read(session, session.scalars(query).all())


_IS_SETTLED = text(
    "not exists (select from publications p where p.org_id = workflows.org_id"
    " and p.workflow_id = workflows.id and p.due_at < 'infinity')"
)


def _read(session: PlatformSession, rows: Sequence[WorkflowRow]) -> list[Publication]:
    schedules: dict[str, list[Schedule]] = {}
    for schedule in list_schedules_of(session, [WorkflowId(row.id) for row in rows]):
        schedules.setdefault(schedule.workflow_id, []).append(schedule)
    return [
        Publication(to_workflow(row), schedules.get(row.id, []), row.published, 0, 0)
        for row in rows
    ]


def _key(publication: Publication) -> dict[str, object]:
    return {
        "org_id": publication.workflow.org_id,
        "workflow_id": publication.workflow.id,
        "revision": publication.revision,
    }
