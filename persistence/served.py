"""How the queue served organizations of late: waits, starts and ends, for one or for all.

Both read `executions_served`: of each organization only what ended within the span or runs.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from domain.clock import utc_now
from domain.ids import OrgId
from domain.served import OrgService, PlatformService, sum_up
from persistence.queue import WAITS
from persistence.sessions import OrgSession, PlatformSession

_ENDED_WELL_OR_NOT = "status in ('COMPLETED', 'FAILED')"
_COUNTS = f"""
    count(*) filter (where started_at >= :since) as started,
    count(*) filter (where completed_at >= :since and {_ENDED_WELL_OR_NOT}) as completed,
    percentile_cont(array[0.5, 0.95]) within group (
        order by date_part('epoch', started_at - created_at)
    ) filter (where started_at >= :since) as waits"""


def _served(org: str) -> str:
    columns = "select created_at, started_at, completed_at, status from executions e"
    mine = f"e.org_id = {org} and e.started_at is not null"
    return f"""
        {columns} where {mine} and e.completed_at >= :since
        union all
        {columns} where {mine} and e.completed_at is null"""


# Organization by organization: each is a short walk in the index, and one that was idle is none.
_SERVED = text(f"""
select s.org_id, {_COUNTS}
from (select o.id as org_id, e.* from organizations o cross join lateral ({_served("o.id")}) e) s
group by grouping sets ((s.org_id), ())
""")
_WAITING = text(f"""
select org_id, count(*) as waiting,
    extract(epoch from clock_timestamp() - min(created_at))::float as oldest_age_s
from executions where {WAITS} group by 1
""")
_RUNNING = text("""
select org_id, count(*) as running from executions
where completed_at is null and run_id is not null and status <> 'PAUSED' group by 1
""")
_ORGS = text("""
select id, weight, max_running, paused_at is not null as is_paused from organizations
where id = any(:ids)
""")
_QUEUE = text(f"""
select w.waiting, coalesce(extract(epoch from now() - w.oldest), 0)::float as oldest_age_s,
    (select coalesce(sum(size), 0) from runs where closed_at is null) as running,
    s.started, s.completed, s.waits[1] as p50, s.waits[2] as p95
from (
    select count(*) as waiting, min(created_at) as oldest from executions where {WAITS}
) w, (
    select {_COUNTS} from ({_served("cast(:org_id as text)")}) e
) s
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOfOrg:
    """How the queue does for one organization."""

    waiting: int
    oldest_age_s: float
    running: int
    started: int
    """Executions that started within the window; the waits are theirs."""
    completed: int
    """Executions that ran and ended within it, well or not."""
    wait_p50_s: float | None
    wait_p95_s: float | None


def measure_queue_of_org(session: OrgSession, *, since: datetime) -> QueueOfOrg:
    """Measure the organization's part of the queue, and how it was served since then."""
    row = session.execute(_QUEUE, {"since": since, "org_id": session.org_id}).one()
    return QueueOfOrg(
        waiting=row.waiting,
        oldest_age_s=row.oldest_age_s,
        running=row.running,
        started=row.started,
        completed=row.completed,
        wait_p50_s=row.p50,
        wait_p95_s=row.p95,
    )


def measure_service(session: PlatformSession, *, window_s: int) -> PlatformService:
    """Measure how the queue served all organizations within the last `window_s` seconds."""
    since = utc_now() - timedelta(seconds=window_s)
    served = {row.org_id: row for row in session.execute(_SERVED, {"since": since})}
    waiting = {row.org_id: row for row in session.execute(_WAITING)}
    running = {row.org_id: row.running for row in session.execute(_RUNNING)}
    everybody = served.pop(None)
    ids = served.keys() | waiting.keys() | running.keys()
    orgs: list[OrgService] = []
    for row in session.execute(_ORGS, {"ids": list(ids)}):
        own, queued, runs = served.get(row.id), waiting.get(row.id), running.get(row.id, 0)
        p50, p95 = (own.waits if own else None) or (None, None)
        orgs.append(
            OrgService(
                org_id=OrgId(row.id),
                weight=row.weight,
                waiting=queued.waiting if queued else 0,
                oldest_age_s=queued.oldest_age_s if queued else 0.0,
                running=runs,
                started=own.started if own else 0,
                completed=own.completed if own else 0,
                wait_p50_s=p50,
                wait_p95_s=p95,
                is_held=row.is_paused or (row.max_running is not None and runs >= row.max_running),
            )
        )
    orgs.sort(key=lambda org: org.org_id)
    p50, p95 = everybody.waits or (None, None)
    return sum_up(orgs, window_s=window_s, waits_s=(p50, p95))
