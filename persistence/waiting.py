"""What is known of an execution's place in the queue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from domain.errors import ErrorCode
from domain.executions import ExecutionNotFound, ExecutionStatus
from domain.ids import ExecutionId
from domain.waiting import PauseScope, WaitFacts
from persistence.carried_types import TYPES_OF_VERSION
from persistence.queue import WAITS
from persistence.sessions import OrgSession, PlatformSession

# The organization's own rows only: row-level security sees to it.
_PLACE = text(f"""
select e.status, e.run_id is not null as has_run, e.created_at,
    e.cancel_requested_at is not null as is_called_off,
    o.max_running as org_limit, o.paused_at is not null as org_is_paused,
    w.name as workflow_name, w.max_running as workflow_limit,
    w.paused_at is not null as workflow_is_paused,
    (select count(*) from executions a
        where {WAITS} and (a.priority, a.id) < (e.priority, e.id)) as ahead,
    (select coalesce(sum(size), 0) from runs where closed_at is null) as org_running,
    (select coalesce(sum(size), 0) from runs
        where closed_at is null and workflow_id = e.workflow_id) as workflow_running,
    (select coalesce(sum(size), 0) from runs
        where started_at > now() - interval '5 minutes') as started,
    {TYPES_OF_VERSION} as agent_types
from executions e join organizations o on o.id = e.org_id join workflows w on w.id = e.workflow_id
    join workflow_versions v
        on v.workflow_id = e.workflow_id and v.version = e.workflow_version
where e.id = :id
""")
_RATE_S = 300.0
_BUSIEST = text("""
select w.name, sum(r.size)::bigint as running from runs r join workflows w on w.id = r.workflow_id
where r.closed_at is null group by 1 order by 2 desc, 1 limit 3
""")


@dataclass(frozen=True, slots=True)
class WorkersSeen:
    """Who works at the moment, on the whole platform, and whether Prefect answered of late."""

    workers: int
    is_prefect_away: bool
    pauses: Sequence[PauseScope] = ()
    carried_types: Sequence[Collection[str] | None] = ()
    """The agent types of the workers; `None` of those that do not say."""


def find_place(session: OrgSession, execution_id: ExecutionId, seen: WorkersSeen) -> WaitFacts:
    """Gather what tells why an execution waits.

    Raises:
        ExecutionNotFound: this organization has no such execution.
    """
    row = session.execute(_PLACE, {"id": execution_id}).first()
    if row is None:
        raise ExecutionNotFound(execution_id)
    busiest = [(each.name, each.running) for each in session.execute(_BUSIEST)]
    return WaitFacts(
        status=ExecutionStatus(row.status),
        has_run=row.has_run,
        is_called_off=row.is_called_off,
        waiting_since=row.created_at,
        ahead=row.ahead,
        org_running=row.org_running,
        org_limit=row.org_limit,
        org_is_paused=row.org_is_paused,
        workflow_name=row.workflow_name,
        workflow_running=row.workflow_running,
        workflow_limit=row.workflow_limit,
        workflow_is_paused=row.workflow_is_paused,
        busiest=busiest,
        workers=seen.workers,
        is_prefect_away=seen.is_prefect_away,
        started_per_s=row.started / _RATE_S,
        pauses=seen.pauses,
        agent_types=row.agent_types,
        carried_types=seen.carried_types,
    )


def see_workers(session: PlatformSession) -> WorkersSeen:
    """Count the workers that gave a sign of life of late, and list what pauses the queue.

    That Prefect is away is what the steward's last round met; an old round tells nothing.
    """
    row = session.execute(_SEEN, {"code": ErrorCode.PREFECT_UNREACHABLE.value}).one()
    return WorkersSeen(
        row.workers,
        is_prefect_away=bool(row.is_prefect_away),
        pauses=[PauseScope(scope) for scope in row.pauses],
        carried_types=row.carried_types,
    )


_SEEN = text("""
select count(*) as workers,
    array(select scope from pauses order by scope) as pauses,
    coalesce(jsonb_agg(distinct to_jsonb(agent_types)), '[]') as carried_types,
    (select bool_or(t.value = :code) from steward_status s, jsonb_each_text(s.troubles) t
        where s.round_at > now() - interval '2 minutes') as is_prefect_away
from workers where expires_at > clock_timestamp()
""")
