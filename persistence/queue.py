"""The queue: executions that wait, claimed by any number of workers, in a fair order."""

from collections.abc import Sequence

from sqlalchemy import text

from domain.ids import OrgId, WorkflowId
from domain.queue_shares import Rules
from domain.runs import ClaimedRun
from persistence.queue_claim import Claim, Claimant
from persistence.queue_heads import IN_LINE, WAITS, lock_heads
from persistence.sessions import PlatformSession

__all__ = [
    "WAITS",
    "Claimant",
    "claim_run",
    "claim_runs",
    "forget_worker",
    "is_worker_noted",
    "may_start",
    "note_worker",
]

_DEFAULT_RULES = Rules()

_HAS_WORK = text(f"""
select not exists (select from pauses) and exists (select from executions where {IN_LINE})
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


def claim_runs(
    session: PlatformSession, claimant: Claimant, *, rules: Rules = _DEFAULT_RULES
) -> list[ClaimedRun]:
    """Take waiting executions into new runs, as many as a worker has room for.

    Each run carries executions of one workflow version. Claimers hold the heads of the
    organizations that they choose from, so that limits hold and turns are counted whatever starts
    at the same time; with many organizations they take different ones. Killed after the commit,
    the runs' leases end and the steward gives the executions back.
    """
    if claimant.free_runs <= 0 or not session.execute(_HAS_WORK).scalar_one():
        return []
    return Claim(session, claimant, rules).run()


def may_start(session: PlatformSession, org_id: OrgId, workflow_id: WorkflowId) -> bool:
    """Say whether the limits let one more execution start that did not come by the queue.

    Claimers of the organization, and others who ask, wait until this transaction ends: what is
    started in it counts for them.
    """
    lock_heads(session, [org_id], _DEFAULT_RULES, most=1, wait=True)
    found = session.execute(_MAY_START, {"org_id": org_id, "workflow_id": workflow_id})
    return bool(found.scalar_one())


def claim_run(
    session: PlatformSession, *, worker: str, lease_s: float, size: int = 1
) -> ClaimedRun | None:
    """Take up to `size` waiting executions of one workflow version; `None` if nothing waits."""
    claimant = Claimant(name=worker, lease_s=lease_s, runs=1, free_runs=1, free_executions=size)
    claimed = claim_runs(session, claimant, rules=Rules(max_batch=size))
    return claimed[0] if claimed else None


_NOTE = text("""
insert into workers (name, slots, expires_at, agent_types)
values (:name, :slots, clock_timestamp() + make_interval(secs => :life_s),
    cast(:agent_types as text[]))
on conflict (name) do update set slots = excluded.slots, expires_at = excluded.expires_at,
    agent_types = excluded.agent_types
""")


def note_worker(
    session: PlatformSession,
    name: str,
    *,
    slots: int,
    life_s: float,
    agent_types: Sequence[str] | None = None,
) -> None:
    """Note that a worker lives, how many runs it carries at most, and of which agent types."""
    types = None if agent_types is None else list(agent_types)
    session.execute(_NOTE, {"name": name, "slots": slots, "life_s": life_s, "agent_types": types})


def is_worker_noted(session: PlatformSession, name: str) -> bool:
    """Say whether a worker has given a sign of life of late."""
    query = text(
        "select exists (select from workers where name = :name and expires_at > clock_timestamp())"
    )
    return session.execute(query, {"name": name}).scalar_one()


def forget_worker(session: PlatformSession, name: str) -> None:
    """Note that a worker takes nothing any more."""
    session.execute(text("delete from workers where name = :name"), {"name": name})
