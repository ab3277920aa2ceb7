"""Figures: how many executions, how well, how fast, at what cost."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from api.access import Access, allow
from api.answers import PROBLEMS
from api.routes.execution_wishes import Moment
from domain.clock import utc_now
from domain.errors import ErrorCode, InvalidInput
from domain.permissions import Permission
from persistence.metrics import Bucket, Figures, Group, measure_executions

router = APIRouter(prefix="/metrics", tags=["metrics"], responses=PROBLEMS)

_LENGTH = {
    Bucket.MINUTE: timedelta(minutes=1),
    Bucket.HOUR: timedelta(hours=1),
    Bucket.DAY: timedelta(days=1),
}
# Times are kept to the microsecond: what an interpolation adds behind it means nothing.
_DIGITS = 6
_MAX_BUCKETS = 1_500
_MAX_SPAN = timedelta(days=366)
_MAX_ROWS = 10_000
Reader = Annotated[Access, Depends(allow(Permission.METRICS_READ))]


class DurationFigures(BaseModel):
    """Percentiles in seconds."""

    p50: float
    p95: float
    p99: float


class WaitFigures(BaseModel):
    """Percentiles in seconds, from creation to start."""

    p50: float
    p95: float


class MetricsRow(BaseModel):
    """The figures of one bucket and group; of agents, each attempt counts."""

    bucket: datetime | None = Field(description="When the bucket begins; null: the whole span.")
    group: str | None = Field(
        description="What it is grouped by; null: all, or those that have none.",
        examples=["wf_01jd3m3k7e9c5v2x8w4z6a1b0d"],
    )
    count: int
    by_status: dict[str, int] = Field(examples=[{"COMPLETED": 40, "FAILED": 2}])
    success_rate: float | None = Field(
        description="Completed ones among those that completed or failed, 0 to 1.",
        examples=[0.9524],
    )
    duration_seconds: DurationFigures | None
    queue_wait_seconds: WaitFigures | None
    tokens_used: int
    cost: str = Field(description="US dollars, as an exact decimal.", examples=["0.01250000"])

    @classmethod
    def of(cls, found: Figures) -> "MetricsRow":
        """Show figures."""
        duration = wait = None
        rate = found.success_rate
        if found.duration_s is not None:
            p50, p95, p99 = (round(value, _DIGITS) for value in found.duration_s)
            duration = DurationFigures(p50=p50, p95=p95, p99=p99)
        if found.queue_wait_s is not None:
            p50, p95 = (round(value, _DIGITS) for value in found.queue_wait_s)
            wait = WaitFigures(p50=p50, p95=p95)
        return cls(
            bucket=found.bucket,
            group=found.group,
            count=found.count,
            by_status={status.value: count for status, count in found.by_status.items()},
            success_rate=None if rate is None else round(rate, _DIGITS),
            duration_seconds=duration,
            queue_wait_seconds=wait,
            tokens_used=found.tokens_used,
            cost=f"{found.cost:.8f}",
        )


class ExecutionMetrics(BaseModel):
    """Figures over a span of time, by when executions were created."""

    since: datetime
    until: datetime
    bucket: Bucket
    group_by: Group | None
    total: MetricsRow
    rows: list[MetricsRow] = Field(
        description="By bucket, then group; where nothing was created there is no row."
    )


class MetricsWishInvalid(InvalidInput):
    """Figures that are not given as asked for."""

    code = ErrorCode.REQUEST_INVALID
    subject = "request for metrics"


@router.get("/executions")
def execution_metrics(
    access: Reader,
    from_: Annotated[
        Moment | None, Query(alias="from", description="Without it, a day before `to`.")
    ] = None,
    to: Annotated[Moment | None, Query(description="Without it, now.")] = None,
    bucket: Bucket = Bucket.HOUR,
    group_by: Group | None = None,
) -> ExecutionMetrics:
    """Count and measure executions by time, and by workflow, agent, trigger, status or error."""
    since, until = _read_span(from_, to, bucket)
    with access.open() as session:
        found = measure_executions(
            session,
            since=since,
            until=until,
            bucket=bucket,
            group_by=group_by,
            limit=_MAX_ROWS + 2,
        )
    if len(found) > _MAX_ROWS + 1:
        raise MetricsWishInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/query/bucket",
            f"The answer would have more than {_MAX_ROWS:,} rows.",
            "Ask for a longer bucket, a shorter span, or another `group_by`.",
        )
    total, *rows = found
    return ExecutionMetrics(
        since=since,
        until=until,
        bucket=bucket,
        group_by=group_by,
        total=MetricsRow.of(total),
        rows=[MetricsRow.of(row) for row in rows],
    )


def _read_span(
    given_from: datetime | None, given_to: datetime | None, bucket: Bucket
) -> tuple[datetime, datetime]:
    try:
        until = given_to or utc_now()
        since = given_from or until - timedelta(days=1)
        span = until - since
    except OverflowError as error:
        raise _span_invalid("The time lies outside of the calendar.") from error
    if span <= timedelta(0):
        raise _span_invalid("`from` is not before `to`.")
    allowed = min(_MAX_SPAN, _MAX_BUCKETS * _LENGTH[bucket])
    if span > allowed:
        raise _span_invalid(
            f"With buckets of a {bucket.value}, the span may be {_show(allowed)} long at most."
        )
    return since, until


def _span_invalid(message: str) -> MetricsWishInvalid:
    hint = "Ask for a shorter span, or for a longer bucket."
    return MetricsWishInvalid.one(ErrorCode.FIELD_INVALID, "/query/from", message, hint)


def _show(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
