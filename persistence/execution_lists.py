"""Executions as lists: pages by keyset, and totals.

Row-level security shapes these queries. Only operators that Postgres calls leakproof (`=` and `<`
on text and times) may meet an index before the policy has been checked. `@>` on labels is none of
them: labels are looked up in a table of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ARRAY,
    ClauseElement,
    ColumnElement,
    Executable,
    Row,
    Select,
    Text,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased, join
from sqlalchemy.sql.compiler import SQLCompiler

from domain.errors import ErrorCode
from domain.execution_queries import ExecutionFilter, ExecutionSummary, Order, Position, Total
from domain.executions import ExecutionError, ExecutionNotFound, ExecutionStatus, Trigger
from domain.ids import ExecutionId, UserId, WorkflowId
from persistence.sessions import OrgSession
from persistence.tables import ExecutionLabelRow, ExecutionRow

EXACT_UP_TO = 10_000
"""Totals above are estimates: counting a million rows for one page helps nobody."""

# No payloads: a page of 200 executions would read megabytes for them.
_COLUMNS = (
    ExecutionRow.id,
    ExecutionRow.workflow_id,
    ExecutionRow.workflow_version,
    ExecutionRow.status,
    ExecutionRow.trigger,
    ExecutionRow.priority,
    ExecutionRow.attempt,
    ExecutionRow.requested_by,
    ExecutionRow.created_at,
    ExecutionRow.started_at,
    ExecutionRow.completed_at,
    ExecutionRow.duration_seconds,
    ExecutionRow.deadline,
    ExecutionRow.cancel_requested_at,
    ExecutionRow.error,
    ExecutionRow.error_code,
    ExecutionRow.error_hint,
    ExecutionRow.tokens_used,
    ExecutionRow.cost,
    ExecutionRow.labels,
    ExecutionRow.batch_id,
    ExecutionRow.replay_of,
)


def list_summaries(
    session: OrgSession,
    wanted: ExecutionFilter,
    *,
    order: Order = Order.NEWEST,
    after: Position | None = None,
    limit: int = 50,
) -> list[ExecutionSummary]:
    """List a page of executions; `after` is the position of the last one of the page before.

    Stable while rows arrive: no row is on two pages or on none, whatever was added meanwhile.
    """
    rows = session.execute(page_query(wanted, order=order, after=after, limit=limit))
    return [_to_summary(row) for row in rows]


def page_query(
    wanted: ExecutionFilter, *, order: Order, after: Position | None, limit: int
) -> Select[Any]:
    """Make the query of a page.

    In order of the id, which rises with the time of creation and ends every filter's index; or of
    that time and then the id (see `ExecutionFilter.is_by_time`).
    """
    timed = wanted.is_by_time
    rows = _find_rows(wanted)
    if after is not None:
        rows.conditions.append(_behind(rows.place, after, order, timed=timed))
    if wanted.narrows_by_labels_only:
        # The page first, and then its executions: joined before, Postgres takes their number for
        # the share of all organizations' rows, thinks it small, and sorts every labelled one.
        page = _sorted(rows.select(*rows.place), rows.place, order, timed=timed)
        page = page.limit(limit).subquery("page")
        whole = select(*_COLUMNS).join(page, page.c.execution_id == ExecutionRow.id)
        return _sorted(whole, (page.c.created_at, page.c.execution_id), order, timed=timed)
    query = rows.select(*_COLUMNS)
    if not wanted.narrows_by_status:
        return _sorted(query, rows.place, order, timed=timed).limit(limit)
    # One page for each status, each from its own part of the index, and the first of all these.
    # With `in`, Postgres sorts all rows of these statuses, or walks the rows of all.
    statuses = func.unnest(sql_cast(_values(wanted), ARRAY(Text)))
    status = statuses.table_valued("status").render_derived(name="wanted")
    query = query.where(ExecutionRow.status == status.c.status)
    part = _sorted(query, rows.place, order, timed=timed).limit(limit).lateral("part")
    merged = select(*part.c).select_from(status.join(part, true()))
    return _sorted(merged, (part.c.created_at, part.c.id), order, timed=timed).limit(limit)


def count_executions(session: OrgSession, wanted: ExecutionFilter) -> Total:
    """Count executions: exactly up to 10,000, and above as the planner estimates."""
    rows = _find_rows(wanted)
    matching = rows.select(rows.id)
    if wanted.narrows_by_status:
        matching = matching.where(ExecutionRow.status.in_(_values(wanted)))
    enough = matching.limit(EXACT_UP_TO + 1).subquery()
    seen = session.scalars(select(func.count()).select_from(enough)).one()
    if seen <= EXACT_UP_TO:
        return Total(seen, is_estimate=False)
    # Policies do not tell the planner which organization it is, and so how many rows it has.
    known = matching.where(rows.org_id == session.org_id)
    estimate = int(explain(session, known)["Plan Rows"])
    return Total(max(estimate, EXACT_UP_TO + 1), is_estimate=True)


def get_summary(session: OrgSession, execution_id: ExecutionId) -> ExecutionSummary:
    """Read one execution without its payloads.

    Raises:
        ExecutionNotFound: this organization has no such execution.
    """
    row = session.execute(select(*_COLUMNS).where(ExecutionRow.id == execution_id)).first()
    if row is None:
        raise ExecutionNotFound(execution_id)
    return _to_summary(row)


def explain(session: OrgSession, query: Select[Any]) -> dict[str, Any]:
    """Ask the planner how it would run a query; answer the plan's top node."""
    found: Any = session.connection().execute(_Explain(query)).scalar()
    return found[0]["Plan"]


def to_error(code: str | None, message: str | None, hint: str | None) -> ExecutionError | None:
    """Put together what three columns say of an error."""
    return None if code is None else ExecutionError(ErrorCode(code), message or "", hint or "")


class _Explain(Executable, ClauseElement):
    """`explain` before a query, with the query's parameters."""

    inherit_cache = False

    def __init__(self, query: Select[Any]) -> None:
        self.query = query


@compiles(_Explain)
def _compile_explain(  # pyright: ignore[reportUnusedFunction]
    element: _Explain, compiler: SQLCompiler, **kw: Any
) -> str:
    return f"explain (format json) {compiler.process(element.query, **kw)}"


def _values(wanted: ExecutionFilter) -> list[str]:
    return sorted(status.value for status in wanted.statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What a list is made of: whence, which, and what of it is its place in the list."""

    source: Any
    conditions: list[ColumnElement[bool]]
    created_at: Any
    id: Any
    org_id: Any

    @property
    def place(self) -> tuple[Any, Any]:
        return self.created_at, self.id

    def select(self, *columns: Any) -> Select[Any]:
        return select(*columns).select_from(self.source).where(*self.conditions)


def _find_rows(wanted: ExecutionFilter) -> _Rows:
    # All but the status.
    rows = _label(wanted.labels) if wanted.labels else _all_rows()
    if wanted.labels and not wanted.narrows_by_labels_only:
        rows = replace(rows, source=join(rows.source, ExecutionRow, rows.id == ExecutionRow.id))
    rows.conditions.extend(
        column == value
        for column, value in (
            (ExecutionRow.workflow_id, wanted.workflow_id),
            (ExecutionRow.trigger, wanted.trigger.value if wanted.trigger else None),
            (ExecutionRow.error_code, wanted.error_code),
            (ExecutionRow.requested_by, wanted.requested_by),
            (ExecutionRow.batch_id, wanted.batch_id),
        )
        if value is not None
    )
    if wanted.created_after is not None:
        rows.conditions.append(rows.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        rows.conditions.append(rows.created_at < wanted.created_before)
    return rows


def _all_rows() -> _Rows:
    row = ExecutionRow
    return _Rows(source=row, conditions=[], created_at=row.created_at, id=row.id, org_id=row.org_id)


def _label(labels: Sequence[tuple[str, str]]) -> _Rows:
    # Each label's rows come in order of time from its part of the index, so that Postgres may
    # read two of them side by side.
    first, *others = (aliased(ExecutionLabelRow) for _ in labels)
    source: Any = first
    for other in others:
        same = (other.created_at == first.created_at) & (other.execution_id == first.execution_id)
        source = join(source, other, same)
    return _Rows(
        source=source,
        conditions=[
            (row.key == key) & (row.value == value)
            for row, (key, value) in zip((first, *others), labels, strict=True)
        ],
        created_at=first.created_at,
        id=first.execution_id,
        org_id=first.org_id,
    )


def _behind(
    place: tuple[Any, Any], after: Position, order: Order, *, timed: bool
) -> ColumnElement[bool]:
    if not timed:
        return place[1] < after.id if order is Order.NEWEST else place[1] > after.id
    here = tuple_(*place)
    there = tuple_(literal(after.created_at), literal(after.id))
    return here < there if order is Order.NEWEST else here > there


def _sorted(
    query: Select[Any], place: tuple[Any, Any], order: Order, *, timed: bool
) -> Select[Any]:
    columns = place if timed else place[1:]
    newest = order is Order.NEWEST
    return query.order_by(*(column.desc() if newest else column.asc() for column in columns))


def _to_summary(row: Row[Any]) -> ExecutionSummary:
    return ExecutionSummary(
        id=ExecutionId(row.id),
        workflow_id=WorkflowId(row.workflow_id),
        workflow_version=row.workflow_version,
        status=ExecutionStatus(row.status),
        trigger=Trigger(row.trigger),
        priority=row.priority,
        attempt=row.attempt,
        requested_by=UserId(row.requested_by) if row.requested_by else None,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        duration_seconds=row.duration_seconds,
        deadline=row.deadline,
        cancel_requested_at=row.cancel_requested_at,
        error=to_error(row.error_code, row.error, row.error_hint),
        tokens_used=row.tokens_used,
        cost=row.cost,
        labels=row.labels,
        batch_id=row.batch_id,
        replay_of=ExecutionId(row.replay_of) if row.replay_of else None,
    )
