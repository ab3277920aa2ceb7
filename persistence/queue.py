"""The queue: executions that wait, claimed by any number of workers, in a fair order."""

from dataclasses import dataclass

from sqlalchemy import text, update

from domain.executions import Trigger
from domain.fairness import (
    SMALLEST_SHARE,
    FairPlan,
    OrgShare,
    Pick,
    Rules,
    WaitingLine,
    WorkerRoom,
    WorkflowShare,
)
from domain.ids import ExecutionId, OrgId, WorkflowId
from domain.runs import ClaimedRun
from persistence.runs import add_run
from persistence.sessions import PlatformSession
from persistence.tables import OrganizationRow

_DEFAULT_RULES = Rules()
# Counting on would cost more than it tells: a tenth of this is the largest batch there is.
_MOST_COUNTED = 10_000

WAITS = "run_id is null and status in ('PENDING', 'RUNNING') and cancel_requested_at is null"
"""SQL that says of a row of `executions` whether it waits, word for word as the queue's index."""

_HAS_WORK = text(f"""
select not exists (select from pauses) and exists (select from executions where {WAITS})
""")
# From line to line by the index: what it costs grows with the lines, not with what waits in them.
_LINES = text(f"""
with recursive line as (
    (select org_id, workflow_id, workflow_version, priority from executions where {WAITS}
        order by org_id, workflow_id, workflow_version, priority limit 1)
    union all
    select n.org_id, n.workflow_id, n.workflow_version, n.priority
    from line l cross join lateral (
        select org_id, workflow_id, workflow_version, priority from executions
        where {WAITS} and (org_id, workflow_id, workflow_version, priority)
            > (l.org_id, l.workflow_id, l.workflow_version, l.priority)
        order by org_id, workflow_id, workflow_version, priority limit 1
    ) n
)
select l.*, h.id as oldest_id,
    extract(epoch from clock_timestamp() - h.created_at)::float as oldest_age_s
from line l cross join lateral (
    select id, created_at from executions e
    where {WAITS} and e.org_id = l.org_id and e.workflow_id = l.workflow_id
        and e.workflow_version = l.workflow_version and e.priority = l.priority
    order by id limit 1
) h
""")
_OPEN = text("""
select org_id, workflow_id, count(*) as runs, sum(size)::bigint as running,
    extract(epoch from clock_timestamp() - max(created_at))::float as newest_age_s,
    bool_or(case when started_at is null then created_at > clock_timestamp() - interval '3 s'
        else started_at > clock_timestamp() - interval '0.75 s' end) as has_begun
from runs where closed_at is null group by 1, 2
""")
_ORGS = text("""
select id, weight, max_running, paused_at is not null as is_paused, queue_clock,
    queue_taken
from organizations where id = any(:ids)
""")
# Small runs only, and of the last seconds: of a batch that was dealt out none is as small.
_SINGLES = text(f"""
select distinct org_id from runs
where closed_at > clock_timestamp() - interval '5 s' and size < {SMALLEST_SHARE}
""")
_WORKFLOWS = text("""
select id, max_running, max_batch, paused_at is not null as is_paused
from workflows where id = any(:ids)
""")
# SKIP LOCKED: whoever calls an execution off at this moment is not waited for.
_TAKE = text(f"""
select id, trigger from executions
where {WAITS} and org_id = :org_id and workflow_id = :workflow_id
    and workflow_version = :version and priority = :priority
    and (deadline is null or deadline > clock_timestamp())
order by id limit :most for update skip locked
""")
_MAY_START = text("""
select o.paused_at is null and w.paused_at is null and not exists (select from pauses)
    and coalesce(o.max_running > (select coalesce(sum(size), 0) from runs
        where closed_at is null and org_id = o.id), true)
    and coalesce(w.max_running > (select coalesce(sum(size), 0) from runs
        where closed_at is null and workflow_id = w.id), true)
from organizations o join workflows w on w.org_id = o.id
where o.id = :org_id and w.id = :workflow_id
""")
_CARRY = text("""
update executions set run_id = :run_id, lease_token = :lease_token
where org_id = :org_id and id = any(:ids)
""")
_COUNT = text(f"""
select count(*) from (
    select from executions where {WAITS} and org_id = :org_id limit :most
) as waiting
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """The worker that asks for work."""

    name: str
    lease_s: float
    runs: int
    """Runs that it carries at most, and `free_runs` more than it does now."""
    free_runs: int
    free_executions: int
    carried: int = 0
    """Executions that it carries now."""


def claim_runs(
    session: PlatformSession, claimant: Claimant, *, rules: Rules = _DEFAULT_RULES
) -> list[ClaimedRun]:
    """Take waiting executions into new runs, as many as a worker has room for.

    Each run carries executions of one workflow version. Claimers wait for each other, so that
    limits hold and turns are counted whatever starts at the same time. Killed after the commit,
    the runs' leases end and the steward gives the executions back.
    """
    if claimant.free_runs <= 0:
        return []
    if not session.execute(_HAS_WORK).scalar_one():
        return []
    time = _hold_queue(session)
    # Only now, when nobody else claims, are the lines and what runs sure to fit each other.
    plan = _make_plan(session, claimant, rules, time)
    claimed: list[ClaimedRun] = []
    waiting: dict[OrgId, int] = {}
    while (pick := plan.choose()) is not None:
        run = _take(session, claimant, plan, pick, waiting)
        if run is not None:
            claimed.append(run)
    if claimed:
        _set_clocks(session, plan, waiting)
    return claimed


def may_start(session: PlatformSession, org_id: OrgId, workflow_id: WorkflowId) -> bool:
    """Say whether the limits let one more execution start that did not come by the queue.

    Claimers, and others who ask, wait until this transaction ends: what is started in it counts
    for them.
    """
    _hold_queue(session)
    found = session.execute(_MAY_START, {"org_id": org_id, "workflow_id": workflow_id})
    return bool(found.scalar_one())


def claim_run(
    session: PlatformSession, *, worker: str, lease_s: float, size: int = 1
) -> ClaimedRun | None:
    """Take up to `size` waiting executions of one workflow version; `None` if nothing waits."""
    claimant = Claimant(name=worker, lease_s=lease_s, runs=1, free_runs=1, free_executions=size)
    claimed = claim_runs(session, claimant, rules=Rules(max_batch=size))
    return claimed[0] if claimed else None


def _hold_queue(session: PlatformSession) -> float:
    return session.execute(text("select time from queue_clock for update")).scalar_one()


def _list_lines(session: PlatformSession) -> list[WaitingLine]:
    return [
        WaitingLine(
            org_id=OrgId(row.org_id),
            workflow_id=WorkflowId(row.workflow_id),
            version=row.workflow_version,
            priority=row.priority,
            oldest_id=row.oldest_id,
            oldest_age_s=row.oldest_age_s,
        )
        for row in session.execute(_LINES)
    ]


def _make_plan(session: PlatformSession, claimant: Claimant, rules: Rules, time: float) -> FairPlan:
    lines, running = _list_lines(session), session.execute(_OPEN).all()
    org_ids = {line.org_id for line in lines} | {OrgId(row.org_id) for row in running}
    workflow_ids = {line.workflow_id for line in lines}
    workflow_ids |= {WorkflowId(row.workflow_id) for row in running}
    orgs = {
        OrgId(row.id): OrgShare(
            weight=row.weight,
            clock=row.queue_clock,
            taken=row.queue_taken,
            max_running=row.max_running,
            is_paused=row.is_paused,
        )
        for row in session.execute(_ORGS, {"ids": list(org_ids)})
    }
    workflows = {
        WorkflowId(row.id): WorkflowShare(
            max_running=row.max_running, max_batch=row.max_batch, is_paused=row.is_paused
        )
        for row in session.execute(_WORKFLOWS, {"ids": list(workflow_ids)})
    }
    for row in running:
        org = orgs[OrgId(row.org_id)]
        org.running += row.running
        org.runs += row.runs
        org.newest_run_age_s = min(org.newest_run_age_s, row.newest_age_s)
        org.has_begun = org.has_begun or row.has_begun
        workflows[WorkflowId(row.workflow_id)].running += row.running
    open_runs = sum(row.runs for row in running)
    room = WorkerRoom(
        runs=claimant.runs,
        free_runs=claimant.free_runs,
        free_executions=claimant.free_executions,
        all_runs=max(_count_places(session), open_runs + claimant.free_runs),
        carried=claimant.carried,
    )
    singles = {OrgId(org_id) for org_id in session.scalars(_SINGLES)}
    if any(org_id not in orgs or orgs[org_id].comes_singly for org_id in singles):
        rules = rules.beside_small_runs()
        room.carry_one_batch(rules)
    return FairPlan(lines, orgs, workflows, room, time, rules)


def _count_places(session: PlatformSession) -> int:
    query = text("select coalesce(sum(slots), 0) from workers where expires_at > clock_timestamp()")
    return session.execute(query).scalar_one()


def _take(
    session: PlatformSession,
    claimant: Claimant,
    plan: FairPlan,
    pick: Pick,
    waiting: dict[OrgId, int],
) -> ClaimedRun | None:
    line = pick.line
    for org_id in (line.org_id, *plan.heavier_than(pick)):
        if org_id not in waiting:
            counted = session.execute(_COUNT, {"org_id": org_id, "most": _MOST_COUNTED})
            waiting[org_id] = counted.scalar_one()
    wanted = plan.size(pick, waiting)
    rows = session.execute(
        _TAKE,
        {
            "org_id": line.org_id,
            "workflow_id": line.workflow_id,
            "version": line.version,
            "priority": line.priority,
            "most": wanted,
        },
    ).all()
    plan.take(pick, len(rows), is_empty=len(rows) < wanted)
    if not rows:
        return None
    ids = [ExecutionId(row.id) for row in rows]
    run = add_run(
        session,
        line.org_id,
        line.workflow_id,
        line.version,
        worker=claimant.name,
        lease_s=claimant.lease_s,
        size=len(ids),
    )
    session.execute(
        _CARRY,
        {"org_id": line.org_id, "ids": ids, "run_id": run.id, "lease_token": run.lease_token},
    )
    waiting[line.org_id] -= len(ids)
    return ClaimedRun(run, ids, Trigger(rows[0].trigger))


def _set_clocks(session: PlatformSession, plan: FairPlan, waiting: dict[OrgId, int]) -> None:
    session.execute(text("update queue_clock set time = :time"), {"time": plan.time})
    for org_id, left in waiting.items():
        org = plan.orgs[org_id]
        session.execute(
            update(OrganizationRow)
            .where(OrganizationRow.id == org_id)
            .values(queue_clock=org.clock, queue_taken=org.taken if left > 0 else 0)
        )


_NOTE = text("""
insert into workers (name, slots, expires_at)
values (:name, :slots, clock_timestamp() + make_interval(secs => :life_s))
on conflict (name) do update set slots = excluded.slots, expires_at = excluded.expires_at
""")


def note_worker(session: PlatformSession, name: str, *, slots: int, life_s: float) -> None:
    """Note that a worker lives, and how many runs it carries at most."""
    session.execute(_NOTE, {"name": name, "slots": slots, "life_s": life_s})


def is_worker_noted(session: PlatformSession, name: str) -> bool:
    """Say whether a worker has given a sign of life of late."""
    query = text(
        "select exists (select from workers where name = :name and expires_at > clock_timestamp())"
    )
    return session.execute(query, {"name": name}).scalar_one()


def forget_worker(session: PlatformSession, name: str) -> None:
    """Note that a worker takes nothing any more."""
    session.execute(text("delete from workers where name = :name"), {"name": name})
