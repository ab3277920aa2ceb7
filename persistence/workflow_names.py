"""Names of workflows, and the slugs that they become: one name, one workflow, one slug."""

from itertools import count

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert

from domain.ids import WorkflowId, new_workflow_id
from domain.text import MAX_SLUG_CHARS, name_key, number_slug, slugify
from persistence.sessions import OrgSession
from persistence.tables import WorkflowRow
from persistence.workflow_errors import WorkflowNameTaken

# As many characters as `number_slug` may put in place of the end of a slug.
_NUMBER_CHARS = 9


def insert_named(
    session: OrgSession, *, name: str, slug: str, description: str, is_draft: bool
) -> WorkflowRow:
    """Insert a workflow under the first slug that is free.

    Raises:
        WorkflowNameTaken: there is one of that name, up to case.
    """
    for number in count(1):
        numbered = number_slug(slug, number)
        row = session.scalar(
            insert(WorkflowRow)
            .values(
                id=new_workflow_id(),
                org_id=session.org_id,
                name=name,
                slug=numbered,
                description=description,
                version=1,
                draft_version=1 if is_draft else None,
            )
            .on_conflict_do_nothing(index_elements=["org_id", "slug"])
            .returning(WorkflowRow)
        )
        if row is not None:
            return row
        # Who has the slug is committed by now: the insert waited for its writer.
        holder = session.scalar(select(WorkflowRow.name).where(WorkflowRow.slug == numbered))
        if holder is not None and name_key(holder) == name_key(name):
            raise WorkflowNameTaken(holder)
    raise AssertionError("numbers do not end")


def find_named_id(session: OrgSession, name: str) -> WorkflowId | None:
    """Find the workflow of exactly this name, up to case."""
    slug = slugify(name)
    stem = slug[: MAX_SLUG_CHARS - _NUMBER_CHARS].rstrip("-")
    rows = session.execute(
        select(WorkflowRow.id, WorkflowRow.name).where(
            or_(WorkflowRow.slug == slug, WorkflowRow.slug.regexp_match(f"^{stem}.*-[0-9]+$"))
        )
    )
    same = (row.id for row in rows if name_key(row.name) == name_key(name))
    return next(map(WorkflowId, same), None)
