"""Executions that are carried in a process of their own: a run with them was lost more than once.

They wait beside the queue. There are few of them, and whoever carries them carries nothing else,
so a claim takes one run, and reads no more than what is isolated.
"""

from collections.abc import Sequence

from sqlalchemy import text

from domain.executions import Trigger
from domain.ids import ExecutionId, OrgId, WorkflowId
from domain.runs import ClaimedRun
from persistence.carried_types import lacks_types
from persistence.new_runs import NewRun, add_runs, assign_executions
from persistence.queue import may_start
from persistence.queue_heads import WAITS
from persistence.sessions import PlatformSession

_FROM = f"""
from isolations i join executions e on e.org_id = i.org_id and e.id = i.execution_id
    join organizations o on o.id = i.org_id join workflows w on w.id = e.workflow_id
where {WAITS} and e.is_isolated and o.paused_at is null and w.paused_at is null
    and (e.deadline is null or e.deadline > clock_timestamp())
    and (cast(:agent_types as text[]) is null
        or not {lacks_types(workflow_id="e.workflow_id", version="e.workflow_version")})
"""
_WAITING = text(f"""
select not exists (select from pauses) and exists (select {_FROM})
""")
# By lot: no organization keeps another waiting. Of one, the smallest runs go first.
_FIRST = text(f"""
select e.org_id, e.workflow_id, e.workflow_version, e.trigger, e.run_size_limit,
    coalesce(o.max_running, w.max_running) is not null as is_limited
{_FROM} and i.org_id = (select e.org_id {_FROM} order by random() limit 1)
order by e.run_size_limit nulls last, e.id limit 1
""")
_TAKE = text(f"""
select e.id {_FROM} and e.org_id = :org_id and e.workflow_id = :workflow_id
    and e.workflow_version = :version and e.run_size_limit is not distinct from :run_size_limit
order by e.id limit :most for update of e skip locked
""")
_TIDY = text("""
delete from isolations i using executions e where e.org_id = i.org_id and e.id = i.execution_id
    and e.status in ('COMPLETED', 'FAILED', 'CANCELLED')
""")


def has_isolated_work(
    session: PlatformSession, *, agent_types: Sequence[str] | None = None
) -> bool:
    """Say whether something waits for a process of its own, with these agent types."""
    types = None if agent_types is None else list(agent_types)
    return session.execute(_WAITING, {"agent_types": types}).scalar_one()


def claim_isolated(
    session: PlatformSession,
    *,
    worker: str,
    lease_s: float,
    agent_types: Sequence[str] | None = None,
) -> ClaimedRun | None:
    """Take one run of isolated executions, within the limits; `None` if nothing can be taken.

    Killed after the commit, the run's lease ends and the steward gives the executions back.

    Args:
        agent_types: what the worker carries; `None`: everything.
    """
    types = None if agent_types is None else list(agent_types)
    session.execute(_TIDY)
    first = session.execute(_FIRST, {"agent_types": types}).first()
    if first is None:
        return None
    org_id, workflow_id = OrgId(first.org_id), WorkflowId(first.workflow_id)
    if not may_start(session, org_id, workflow_id):
        return None
    rows = session.execute(
        _TAKE,
        {
            "org_id": org_id,
            "workflow_id": workflow_id,
            "version": first.workflow_version,
            "run_size_limit": first.run_size_limit,
            "agent_types": types,
            # What a limit leaves is room for one, at least.
            "most": 1 if first.is_limited else first.run_size_limit or 1,
        },
    ).all()
    if not rows:
        return None
    ids = [ExecutionId(row.id) for row in rows]
    wanted = NewRun(org_id, workflow_id, first.workflow_version, len(ids))
    (run,) = add_runs(session, [wanted], worker=worker, lease_s=lease_s)
    assign_executions(session, [(run, ids)])
    return ClaimedRun(run, ids, Trigger(first.trigger))
