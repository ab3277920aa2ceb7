"""The queue's heads: a row per organization that says what a claim needs to know of what waits.

A claim reads the few heads that come first, locks them, and then reads the lines of these
organizations only. Heads may be too early, never too late: see the migration that made them.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from domain.ids import OrgId, WorkflowId
from domain.queue_shares import OrgShare, Rules, WaitingLine, WorkflowShare
from persistence.carried_types import lacks_types
from persistence.sessions import OrgSession, PlatformSession

WAITS = "run_id is null and status in ('PENDING', 'RUNNING') and cancel_requested_at is null"
"""SQL that says of a row of `executions` whether it waits, word for word as the queue's index."""
IN_LINE = f"{WAITS} and not is_isolated"
"""The same of those that are claimed from the queue: not what a process of its own carries."""

MAX_LINES = 200
"""Lines of one organization that one claim reads; the next claim goes on behind them."""
BLOCKED_S = 2.0
"""How long an organization is passed over when none of its lines could start, unless a limit of
it changes or a run of it ends before."""
_ALL_LINES = 10**9
_LOCK_CLASS = 2118734

NOW = "extract(epoch from clock_timestamp())::float"
HAS_WAITING = "coalesce(first_1, first_2, first_3, first_4, first_5) is not null"
OPEN_RUNS = """
select org_id, count(*) as runs, sum(size)::bigint as running,
    extract(epoch from clock_timestamp() - max(created_at))::float as newest_age_s,
    bool_or(case when started_at is null
        then created_at > clock_timestamp() - make_interval(secs => :start_grace_s)
        else started_at > clock_timestamp() - make_interval(secs => :step_s) end) as has_begun
from runs where closed_at is null group by 1
"""
# Of the table's columns, so that each claimer that gets a lock sees the newest row.
_COLUMNS = "h.org_id, clock, taken, weight, max_running, is_paused, lines_after"
_LOCK_FREE = text(f"""
select {_COLUMNS} from queue_heads h
    join unnest(cast(:ids as text[])) with ordinality as w(org_id, place) using (org_id)
order by w.place limit :most for no key update of h skip locked
""")
_LOCK = text(f"""
select {_COLUMNS} from queue_heads h where org_id = any(:ids)
order by org_id limit :most for no key update
""")
_RUNNING = text(
    OPEN_RUNS.replace("where closed_at is null", "where closed_at is null and org_id = any(:ids)")
)
# From line to line by the index: what it costs grows with the lines, not with what waits in them.
_LINES_OF = f"""
    with recursive line as (
        (select org_id, workflow_id, workflow_version, priority, id as oldest_id,
            extract(epoch from created_at)::float as since_s
            from executions where {IN_LINE} and org_id = o.org_id
                and workflow_id > coalesce(o.after, '')
            order by org_id, workflow_id, workflow_version, priority, id limit 1)
        union all
        select n.* from line l cross join lateral (
            select org_id, workflow_id, workflow_version, priority, id,
                extract(epoch from created_at)::float
            from executions
            where {IN_LINE} and org_id = l.org_id
                and (workflow_id, workflow_version, priority)
                    > (l.workflow_id, l.workflow_version, l.priority)
            order by org_id, workflow_id, workflow_version, priority, id limit 1
        ) n
    )
    select * from line limit :most
"""
_LINES = text(f"""
select l.org_id, l.workflow_id, l.workflow_version, l.priority, l.oldest_id,
    {NOW} - l.since_s as oldest_age_s,
    cast(:agent_types as text[]) is not null
        and {lacks_types(workflow_id="l.workflow_id", version="l.workflow_version")}
        as lacks_types
from unnest(cast(:ids as text[]), cast(:after as text[])) as o(org_id, after)
    cross join lateral ({_LINES_OF}) l
""")
_WORKFLOWS = text("""
select w.id, w.max_running, w.max_batch, w.paused_at is not null as is_paused,
    coalesce((select sum(size) from runs r
        where r.closed_at is null and r.org_id = w.org_id and r.workflow_id = w.id), 0)::bigint
        as running
from workflows w where w.id = any(:ids)
""")
_PRIORITIES = range(1, 6)
_FIRSTS = ", ".join(
    f"min(l.since_s) filter (where l.priority = {n}) as first_{n}" for n in _PRIORITIES
)
_IS_LATE = " or ".join(
    f"coalesce(w.first_{n} < coalesce(h.first_{n}, 'infinity'), false)" for n in _PRIORITIES
)
_TRY_LOCK = text("""
select org_id from unnest(cast(:ids as text[])) as o(org_id)
where pg_try_advisory_xact_lock(:class, hashtext(org_id))
""")
_REFRESH = text(f"""
update queue_heads h set first_1 = x.first_1, first_2 = x.first_2, first_3 = x.first_3,
    first_4 = x.first_4, first_5 = x.first_5,
    taken = case when x.lines = 0 then 0 else h.taken end
from (
    select o.org_id, count(l.org_id) as lines,
        {_FIRSTS}
    from unnest(cast(:ids as text[]), cast(:after as text[])) as o(org_id, after)
        left join lateral ({_LINES_OF}) l on true
    group by o.org_id
) x
where h.org_id = x.org_id and x.lines < :most
""")
# One statement, in which rows and heads are of one moment: a head that is late is a fault.
_LATE = text(f"""
select w.* from (
        select o.org_id,
            {_FIRSTS}
        from (select id as org_id, null::text as after from organizations) o
            cross join lateral ({_LINES_OF}) l
        group by o.org_id
    ) w left join queue_heads h using (org_id)
where h.org_id is null
    or {_IS_LATE}
order by w.org_id
""")
_TELLS_OF_WAITING = text(f"select exists (select from queue_heads where {HAS_WAITING})")
_WAKE = text("""
select queue_heads_wake(:org_id, :first_1, :first_2, :first_3, :first_4, :first_5)
""")
_SET = text(f"""
update queue_heads h set clock = x.clock, taken = x.taken, lines_after = x.lines_after,
    retry_at = case when x.is_blocked then {NOW} + :blocked_s end
from jsonb_to_recordset(cast(:rows as jsonb))
    as x(org_id text, clock float, taken bigint, is_blocked boolean, lines_after text)
where h.org_id = x.org_id
""")


def lock_heads(
    session: PlatformSession, ids: Sequence[OrgId], rules: Rules, *, most: int, wait: bool
) -> tuple[dict[OrgId, OrgShare], dict[OrgId, str | None]]:
    """Lock heads until the transaction ends, and read them and what runs as they are then.

    Args:
        most: how many to lock, in the order of the ids.
        wait: for who holds them; otherwise those that are held are left out.

    Returns:
        The organizations' shares, and behind which workflow each one's lines are to be read.
    """
    statement = _LOCK if wait else _LOCK_FREE
    rows = session.execute(statement, {"ids": list(ids), "most": most}).all()
    shares = {
        OrgId(row.org_id): OrgShare(
            weight=row.weight,
            clock=row.clock,
            taken=row.taken,
            max_running=row.max_running,
            is_paused=row.is_paused,
        )
        for row in rows
    }
    # A statement of its own, begun after the locks: nobody starts anything of theirs any more.
    for row in session.execute(_RUNNING, {"ids": list(shares), **moments(rules)}):
        org = shares[OrgId(row.org_id)]
        org.running, org.runs = row.running, row.runs
        org.newest_run_age_s, org.has_begun = row.newest_age_s, row.has_begun
    return shares, {OrgId(row.org_id): row.lines_after for row in rows}


def list_lines(
    session: PlatformSession,
    after: Mapping[OrgId, str | None],
    *,
    agent_types: Sequence[str] | None = None,
) -> tuple[dict[OrgId, list[WaitingLine]], set[WaitingLine]]:
    """List the lines of some organizations: at most `MAX_LINES` of each, behind a workflow.

    Returns:
        The lines, and those of them that need more than these agent types.
    """
    found: dict[OrgId, list[WaitingLine]] = {org_id: [] for org_id in after}
    lacking: set[WaitingLine] = set()
    values = {
        "ids": list(after),
        "after": list(after.values()),
        "most": MAX_LINES,
        "agent_types": None if agent_types is None else list(agent_types),
    }
    for row in session.execute(_LINES, values):
        line = WaitingLine(
            org_id=OrgId(row.org_id),
            workflow_id=WorkflowId(row.workflow_id),
            version=row.workflow_version,
            priority=row.priority,
            oldest_id=row.oldest_id,
            oldest_age_s=row.oldest_age_s,
        )
        found[line.org_id].append(line)
        if row.lacks_types:
            lacking.add(line)
    return found, lacking


def list_workflow_shares(
    session: PlatformSession, ids: Collection[WorkflowId]
) -> dict[WorkflowId, WorkflowShare]:
    """Read the limits of workflows, and what runs of each."""
    return {
        WorkflowId(row.id): WorkflowShare(
            max_running=row.max_running,
            max_batch=row.max_batch,
            is_paused=row.is_paused,
            running=row.running,
        )
        for row in session.execute(_WORKFLOWS, {"ids": list(ids)})
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadUpdate:
    """What a claim leaves in the head of an organization that it has locked."""

    org_id: OrgId
    share: OrgShare
    is_blocked: bool
    """None of its lines could start: it is passed over for a moment."""
    lines_after: str | None


def write_heads(session: PlatformSession, updates: Sequence[HeadUpdate]) -> None:
    """Write what a claim has found and taken into the heads that it has locked."""
    if not updates:
        return
    rows = [
        {
            "org_id": each.org_id,
            "clock": each.share.clock,
            "taken": each.share.taken,
            "is_blocked": each.is_blocked,
            "lines_after": each.lines_after,
        }
        for each in updates
    ]
    session.execute(_SET, {"rows": json.dumps(rows), "blocked_s": BLOCKED_S})


def refresh_heads(session: PlatformSession, ids: Sequence[OrgId]) -> None:
    """Read since when the locked organizations' executions wait, and write it into their heads.

    An organization that is sent executions at this moment keeps its head as it is: what is not
    committed cannot be seen. So does one with more lines than are read. Early is never wrong.
    """
    free = session.scalars(_TRY_LOCK, {"ids": list(ids), "class": _LOCK_CLASS}).all()
    if free:
        values = {"ids": free, "after": [None] * len(free), "most": MAX_LINES}
        session.execute(_REFRESH, values)


def tells_of_waiting(session: PlatformSession) -> bool:
    """Say whether any head tells of executions that wait, whether they may start or not."""
    return session.execute(_TELLS_OF_WAITING).scalar_one()


def sweep_heads(session: PlatformSession) -> int:
    """Put right the heads that tell too little of what waits; return how many there were.

    None is expected: whatever adds waiting executions writes the heads. It is how executions that
    waited before there were heads are found, and what a claim asks that finds none.
    """
    late = session.execute(_LATE, {"most": _ALL_LINES}).mappings().all()
    for row in late:
        session.execute(_WAKE, dict(row))
    return len(late)


def wake_head(session: OrgSession, first: Mapping[int, datetime]) -> None:
    """Note in the organization's head that executions wait again.

    Args:
        first: by priority, when the oldest of them was created.
    """
    values = {
        f"first_{priority}": first[priority].timestamp() if priority in first else None
        for priority in _PRIORITIES
    }
    session.execute(_WAKE, {"org_id": session.org_id, **values})


def moments(rules: Rules) -> dict[str, float]:
    """Give the parameters of `OPEN_RUNS`."""
    return {"start_grace_s": rules.start_grace_s, "step_s": rules.step_s}
