"""Read the audit trail by filter and page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from domain.audit import ChainedEntry
from domain.execution_ends import EXECUTED, STATUS_BY_END
from persistence.audit import is_about, to_entry
from persistence.sessions import OrgSession
from persistence.tables import AuditHeadRow, AuditRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted: those that fit all that is set. `since` counts, `until` not."""

    action: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    user_id: str | None = None
    success: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_audit_page(
    session: OrgSession,
    wanted: AuditFilter,
    *,
    after: int | None = None,
    newest_first: bool = True,
    limit: int = 100,
) -> list[ChainedEntry]:
    """List one page of entries in the order of the chain, or against it.

    Args:
        after: the place of the last entry of the page before; pages stay apart while others
            append.
    """
    query = _where(select(AuditRow), wanted).limit(limit)
    if newest_first:
        query = query.order_by(AuditRow.seq.desc())
        if after is not None:
            query = query.where(AuditRow.seq < after)
    else:
        query = query.order_by(AuditRow.seq)
        if after is not None:
            query = query.where(AuditRow.seq > after)
    return [to_entry(row) for row in _rows(session, query)]


def get_audit_end(session: OrgSession) -> int:
    """Say at which place the chain ends now; 0 if it is empty."""
    return session.scalar(select(func.max(AuditHeadRow.seq))) or 0


def _where(query: Select[tuple[AuditRow]], wanted: AuditFilter) -> Select[tuple[AuditRow]]:
    if wanted.action is not None:
        query = query.where(_is_of(wanted.action))
    if wanted.resource_type is not None:
        query = query.where(_is_of_type(wanted.resource_type))
    if wanted.resource_id is not None:
        query = query.where(is_about(wanted.resource_id))
    if wanted.user_id is not None:
        query = query.where(AuditRow.user_id == wanted.user_id)
    if wanted.success is not None:
        # Written so that the index of refused entries is found.
        query = query.where(AuditRow.success if wanted.success else ~AuditRow.success)
    if wanted.since is not None:
        query = query.where(AuditRow.timestamp >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditRow.timestamp < wanted.until)
    return query


def _is_of(action: str) -> ColumnElement[bool]:
    # An execution's end is written in one of two forms, and asked for in either.
    if action == EXECUTED:
        return AuditRow.action.in_([EXECUTED, *STATUS_BY_END])
    status = STATUS_BY_END.get(action)
    if status is None:
        return AuditRow.action == action
    said = AuditRow.details["status"].as_string() == status.value
    return or_(AuditRow.action == action, and_(AuditRow.action == EXECUTED, said))


def _is_of_type(resource_type: str) -> ColumnElement[bool]:
    own = AuditRow.resource_type == resource_type
    return or_(own, AuditRow.execution_id.is_not(None)) if resource_type == "execution" else own


def _rows(session: OrgSession, query: Select[tuple[AuditRow]]) -> Iterator[AuditRow]:
    yield from session.scalars(query)
