"""Figures over many executions: one statement, by time and by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, TextClause, text

from domain.executions import ExecutionStatus
from persistence.sessions import OrgSession, PlatformSession


class Bucket(StrEnum):
    """How long the spans are that figures are counted in. UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Group(StrEnum):
    """What figures are told apart by."""

    WORKFLOW = "workflow"
    AGENT = "agent"
    TRIGGER = "trigger"
    STATUS = "status"
    ERROR_CODE = "error_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What happened to the executions of one span and group.

    `bucket` is the span's beginning, `None` for the whole time; `group` is `None` for all, and
    for executions without what they are grouped by. `duration_s` are the 50th, 95th and 99th
    percentile, `queue_wait_s` the 50th and 95th; `None` where nothing ended or started.
    """

    bucket: datetime | None
    group: str | None
    count: int
    by_status: Mapping[ExecutionStatus, int]
    duration_s: tuple[float, ...] | None
    queue_wait_s: tuple[float, ...] | None
    tokens_used: int
    cost: Decimal

    @property
    def success_rate(self) -> float | None:
        """Completed ones among those that completed or failed; `None` if there are neither."""
        completed = self.by_status[ExecutionStatus.COMPLETED]
        ended = completed + self.by_status[ExecutionStatus.FAILED]
        return completed / ended if ended else None


@dataclass(frozen=True, slots=True)
class QueueLength:
    """How many executions wait for a worker, and since when the oldest does."""

    waiting: int
    oldest_age_s: float


_LENGTHS = {
    Bucket.MINUTE: timedelta(minutes=1),
    Bucket.HOUR: timedelta(hours=1),
    Bucket.DAY: timedelta(days=1),
}
# Minutes, hours and days of UTC are all of one length, and `date_bin` costs a fifth of what
# `date_trunc` does with a time zone. So does `date_part`, beside `extract`, which makes a numeric.
_TIME = "date_bin(:bucket, e.created_at, timestamptz '1970-01-01 00:00:00+00') as bucket"
_RANGE = "e.created_at >= :since and e.created_at < :until"
# Of agents each attempt counts, at the time of its execution; they do not queue.
_AGENT_RUNS = f"""
    select {_TIME}, r.agent_name as grp, r.status, r.duration_seconds,
        null::double precision as wait_s, r.tokens_used, r.cost
    from executions e join agent_runs r on r.execution_id = e.id
    where {_RANGE}"""


def _executions(group: str) -> str:
    return f"""
    select {_TIME}, {group} as grp, e.status, e.duration_seconds,
        date_part('epoch', e.started_at - e.created_at) as wait_s,
        e.tokens_used, e.cost
    from executions e
    where {_RANGE}"""


_STATUS_COUNTS = ",\n    ".join(
    f"count(*) filter (where status = '{status.value}') as {status.value.lower()}"
    for status in ExecutionStatus
)


def _statement(source: str) -> TextClause:
    return text(f"""
select bucket, grp, grouping(bucket) = 1 as whole, count(*) as executions,
    {_STATUS_COUNTS},
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by duration_seconds) as duration_s,
    percentile_cont(array[0.5, 0.95]) within group (order by wait_s) as queue_wait_s,
    coalesce(sum(tokens_used), 0) as tokens_used, coalesce(sum(cost), 0) as cost
from ({source}) found
group by grouping sets ((bucket, grp), ())
order by whole desc, bucket, grp nulls last
limit :limit""")


_STATEMENTS: Mapping[Group | None, TextClause] = {
    None: _statement(_executions("null::text")),
    Group.WORKFLOW: _statement(_executions("e.workflow_id")),
    Group.AGENT: _statement(_AGENT_RUNS),
    Group.TRIGGER: _statement(_executions("e.trigger")),
    Group.STATUS: _statement(_executions("e.status")),
    Group.ERROR_CODE: _statement(_executions("e.error_code")),
}
_QUEUE = text("""
select count(*) as waiting,
    coalesce(extract(epoch from now() - min(created_at)), 0)::double precision as oldest_age_s
from executions where run_id is null and status in ('PENDING', 'RUNNING')
""")


def measure_executions(
    session: OrgSession,
    *,
    since: datetime,
    until: datetime,
    bucket: Bucket,
    group_by: Group | None,
    limit: int,
) -> list[Figures]:
    """Count and measure the executions that were created in a span of time.

    Returns:
        First the figures of the whole span, then those of each bucket and group that has any:
        at most `limit` of all of these. Buckets begin at whole minutes, hours or days of UTC.
    """
    rows = session.execute(
        _STATEMENTS[group_by],
        {"since": since, "until": until, "bucket": _LENGTHS[bucket], "limit": limit},
    )
    return [_to_figures(row) for row in rows]


def measure_queue(session: PlatformSession) -> QueueLength:
    """Look how long the platform's queue is."""
    row = session.execute(_QUEUE).one()
    return QueueLength(row.waiting, row.oldest_age_s)


def _to_figures(row: Row[Any]) -> Figures:
    durations, waits = row.duration_s, row.queue_wait_s
    return Figures(
        bucket=row.bucket,
        group=row.grp,
        count=row.executions,
        by_status={status: getattr(row, status.value.lower()) for status in ExecutionStatus},
        duration_s=_all_or_none(durations),
        queue_wait_s=_all_or_none(waits),
        tokens_used=int(row.tokens_used),
        cost=row.cost,
    )


def _all_or_none(percentiles: Sequence[float | None] | None) -> tuple[float, ...] | None:
    # With nothing to order, Postgres answers null, or an array of nulls.
    found = [value for value in percentiles or () if value is not None]
    return tuple(found) or None
