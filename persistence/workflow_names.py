"""Names of workflows, and the slugs that they become: one name, one workflow, one slug."""

from collections.abc import Sequence
from itertools import count

from sqlalchemy import Row, or_, select
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
    number, taken = 1, frozenset[str]()
    while True:
        number = next(n for n in count(number) if number_slug(slug, n) not in taken)
        row = session.scalar(
            insert(WorkflowRow)
            .values(
                id=new_workflow_id(),
                org_id=session.org_id,
                name=name,
                slug=number_slug(slug, number),
                description=description,
                version=1,
                draft_version=1 if is_draft else None,
            )
            .on_conflict_do_nothing(index_elements=["org_id", "slug"])
            .returning(WorkflowRow)
        )
        if row is not None:
            return row
        # Who has the slug is committed by now: the insert waited for its writer. All of them are
        # read at once, for a statement each would be as many as there are such names.
        holders = _list_holders(session, slug)
        same = next((each.name for each in holders if name_key(each.name) == name_key(name)), None)
        if same is not None:
            raise WorkflowNameTaken(same)
        taken = frozenset(each.slug for each in holders)


def _list_holders(session: OrgSession, slug: str) -> Sequence[Row[tuple[str, str, str]]]:
    """List the workflows, as id, name and slug, that may have got their slug from this one."""
    stem = slug[: MAX_SLUG_CHARS - _NUMBER_CHARS].rstrip("-")
    numbered = WorkflowRow.slug.regexp_match(f"^{stem}.*-[0-9]+$")
    return session.execute(
        select(WorkflowRow.id, WorkflowRow.name, WorkflowRow.slug).where(
            or_(WorkflowRow.slug == slug, numbered)
        )
    ).all()


def find_named_id(session: OrgSession, name: str) -> WorkflowId | None:
    """Find the workflow of exactly this name, up to case."""
    rows = _list_holders(session, slugify(name))
    same = (row.id for row in rows if name_key(row.name) == name_key(name))
    return next(map(WorkflowId, same), None)
