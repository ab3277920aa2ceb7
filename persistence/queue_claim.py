"""One claim: choose from the queue's heads, take rows, write heads and clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from domain.executions import Trigger
from domain.fairness import FairPlan, Pick
from domain.ids import ExecutionId, OrgId
from domain.lost_runs import count_together
from domain.queue_shares import Rules, WaitingLine, WorkerRoom, level_of
from domain.runs import ClaimedRun
from persistence.new_runs import NewRun, add_runs, assign_executions
from persistence.queue_heads import (
    IN_LINE,
    MAX_LINES,
    WAITS,
    HeadUpdate,
    list_lines,
    list_workflow_shares,
    lock_heads,
    refresh_heads,
    sweep_heads,
    tells_of_waiting,
    write_heads,
)
from persistence.queue_survey import Candidate, survey
from persistence.sessions import PlatformSession

# Small runs only, and of the last seconds: of a batch that was dealt out none is as small. Who
# has had no share of a batch since it was idle, and has none now, comes with single ones.
_STATE = text("""
with open as materialized (
    select org_id, sum(size)::bigint as running, count(*) as runs from runs
    where closed_at is null group by 1
)
select (select time from queue_clock) as time,
    (select coalesce(sum(runs), 0)::int from open) as open_runs,
    (select coalesce(sum(slots), 0)::int from workers where expires_at > clock_timestamp())
        as places,
    exists (
        select from runs r join queue_heads h using (org_id) left join open o using (org_id)
        where r.closed_at > clock_timestamp() - make_interval(secs => :singles_s)
            and r.size < :small and h.taken < :small and coalesce(o.running, 0) < :small
    ) as has_singles
""")
# SKIP LOCKED: whoever calls an execution off at this moment is not waited for.
_TAKE = text(f"""
select id, trigger, run_size_limit from executions
where {IN_LINE} and org_id = :org_id and workflow_id = :workflow_id
    and workflow_version = :version and priority = :priority
    and (deadline is null or deadline > clock_timestamp())
    and id > :after
order by id limit :most for update skip locked
""")
_COUNT = text(f"""
select o.org_id, w.waiting from unnest(cast(:ids as text[])) as o(org_id) cross join lateral (
    select count(*) as waiting from (
        select from executions where {WAITS} and org_id = o.org_id limit :most
    ) as rows
) as w
""")
# So many times as many heads are looked at as are locked: some of them others hold.
_READ_AHEAD = 4
_FEWEST_READ = 16
_ADVANCE = text("update queue_clock set time = :time where time < :time")


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
    agent_types: Sequence[str] | None = None
    """What it carries: it is given no execution of a version that needs another type. `None`:
    everything."""


@dataclass(frozen=True, slots=True)
class _Taken:
    line: WaitingLine
    ids: Sequence[ExecutionId]
    trigger: str


class Claim:
    """The steps of one claim, in one transaction that is the caller's."""

    def __init__(self, session: PlatformSession, claimant: Claimant, rules: Rules) -> None:
        self._session, self._claimant = session, claimant
        state = session.execute(
            _STATE, {"singles_s": rules.singles_s, "small": rules.smallest_share}
        ).one()
        self._room = WorkerRoom(
            runs=claimant.runs,
            free_runs=claimant.free_runs,
            free_executions=claimant.free_executions,
            all_runs=max(state.places, state.open_runs + claimant.free_runs),
            carried=claimant.carried,
        )
        if state.has_singles:
            rules = rules.beside_small_runs()
            self._room.carry_one_batch(rules)
        self._rules, self._time = rules, state.time
        self._plan = FairPlan([], {}, {}, self._room, state.time, rules)
        self._seen: dict[OrgId, Candidate] = {}
        self._reads = 0
        self._frontier: tuple[int, float] | None = None
        self._lines: dict[OrgId, list[WaitingLine]] = {}
        self._after: dict[OrgId, str | None] = {}
        self._waiting: dict[OrgId, int] = {}
        self._taken: list[_Taken] = []
        self._passed_over: set[WaitingLine] = set()
        # Other workers carry these: they block nobody, and are not for this one.
        self._not_carried: set[WaitingLine] = set()
        # How far a line was taken from: what this transaction has locked itself is not skipped.
        self._last_ids: dict[WaitingLine, str] = {}

    def run(self) -> list[ClaimedRun]:
        """Choose, take and write; nothing is committed."""
        self._read_more()
        if not self._seen and not tells_of_waiting(self._session) and sweep_heads(self._session):
            self._read_more()
        while (pick := self._choose()) is not None:
            self._take(pick)
        return self._write()

    def _choose(self) -> Pick | None:
        """Choose the next line, among those whose place is sure to be before all unread ones."""
        pick = self._plan.choose()
        while self._frontier is not None and (pick is None or pick.key > self._frontier):
            if self._room.free_runs <= 0:
                break
            self._read_more()
            pick = self._plan.choose()
        return pick

    def _read_more(self) -> None:
        """Lock the heads that come next, and take their lines into the plan."""
        is_first = not self._plan.orgs
        # Each time twice as many: nothing of what was read may start, so that may go on for long.
        most = (2 << self._reads) * max(_FEWEST_READ, self._claimant.free_runs)
        self._reads += 1
        found, others = survey(
            self._session,
            self._rules,
            time=self._time,
            seen=self._seen.keys(),
            known=self._plan.orgs.keys(),
            most=_READ_AHEAD * most,
        )
        has_more = len(found) == _READ_AHEAD * most
        ids = [each.org_id for each in found]
        # Few are taken in turns, in their exact order. Of many, claimers take different ones.
        wait = is_first and len(found) <= most
        shares, after = lock_heads(self._session, ids, self._rules, most=most, wait=wait)
        if is_first and not shares and not has_more:
            shares, after = lock_heads(self._session, ids, self._rules, most=most, wait=True)
        looked_at = len(found)
        if len(shares) == most and not wait:
            looked_at = 1 + max(place for place, org_id in enumerate(ids) if org_id in shares)
            has_more = has_more or looked_at < len(found)
        self._frontier = found[looked_at - 1].key if has_more else None
        self._seen |= {each.org_id: each for each in found[:looked_at]}
        if not shares:
            return
        for each in found:
            if each.org_id not in shares:
                level, turn = each.key
                others.add(
                    level=level,
                    turn=turn,
                    clock=each.clock,
                    weight=each.weight,
                    running=each.running,
                )
        lines, not_carried = list_lines(
            self._session, after, agent_types=self._claimant.agent_types
        )
        workflows = {line.workflow_id for each in lines.values() for line in each}
        self._plan.workflows |= list_workflow_shares(self._session, workflows)
        self._plan.orgs |= shares
        self._not_carried |= not_carried
        self._plan.add_lines(
            line for each in lines.values() for line in each if line not in not_carried
        )
        self._plan.set_others(others)
        self._lines |= lines
        self._after |= after
        self._count([org_id for org_id in ids if org_id in shares][: self._room.free_runs])

    def _count(self, ids: Sequence[OrgId]) -> None:
        missing = [org_id for org_id in ids if org_id not in self._waiting]
        if missing:
            rows = self._session.execute(_COUNT, {"ids": missing, "most": self._rules.counted})
            self._waiting |= {OrgId(row.org_id): row.waiting for row in rows}

    def _take(self, pick: Pick) -> None:
        line = pick.line
        self._count([line.org_id, *self._plan.heavier_than(pick)])
        wanted = self._plan.size(pick, self._waiting)
        rows = self._session.execute(
            _TAKE,
            {
                "org_id": line.org_id,
                "workflow_id": line.workflow_id,
                "version": line.version,
                "priority": line.priority,
                "after": self._last_ids.get(line, ""),
                "most": wanted,
            },
        ).all()
        found, rows = len(rows), rows[: count_together([row.run_size_limit for row in rows])]
        self._plan.take(pick, len(rows), is_empty=found < wanted and len(rows) == found)
        if not rows:
            self._passed_over.add(line)
            return
        self._last_ids[line] = rows[-1].id
        self._waiting[line.org_id] -= len(rows)
        self._taken.append(_Taken(line, [ExecutionId(row.id) for row in rows], rows[0].trigger))

    def _write(self) -> list[ClaimedRun]:
        runs = add_runs(
            self._session,
            [
                NewRun(each.line.org_id, each.line.workflow_id, each.line.version, len(each.ids))
                for each in self._taken
            ],
            worker=self._claimant.name,
            lease_s=self._claimant.lease_s,
        )
        claimed = [
            ClaimedRun(run, taken.ids, Trigger(taken.trigger))
            for run, taken in zip(runs, self._taken, strict=True)
        ]
        assign_executions(self._session, [(each.run, each.execution_ids) for each in claimed])
        self._write_heads()
        if self._plan.time > self._time:
            # Last, for all claimers write it.
            self._session.execute(_ADVANCE, {"time": self._plan.time})
        return claimed

    def _write_heads(self) -> None:
        served = {each.line.org_id for each in self._taken}
        updates: list[HeadUpdate] = []
        stale: list[OrgId] = []
        for org_id, lines in self._lines.items():
            is_blocked = org_id not in served and self._is_blocked(lines)
            after = _cursor(lines)
            if org_id in served or is_blocked or after != self._after[org_id]:
                updates.append(
                    HeadUpdate(
                        org_id=org_id,
                        share=self._plan.orgs[org_id],
                        is_blocked=is_blocked and after is None,
                        lines_after=after,
                    )
                )
            if org_id in served or self._is_stale(org_id, lines):
                stale.append(org_id)
        write_heads(self._session, updates)
        refresh_heads(self._session, stale)

    def _is_blocked(self, lines: Sequence[WaitingLine]) -> bool:
        if not self._not_carried.isdisjoint(lines):
            return False
        return bool(lines) and all(
            line in self._passed_over or self._plan.workflows[line.workflow_id].room() == 0
            for line in lines
        )

    def _is_stale(self, org_id: OrgId, lines: Sequence[WaitingLine]) -> bool:
        if not lines:
            return True
        return min(level_of(line, self._rules) for line in lines) > self._seen[org_id].key[0]


def _cursor(lines: Sequence[WaitingLine]) -> str | None:
    """Say behind which workflow the next claim goes on, if this one could not read all lines."""
    if len(lines) < MAX_LINES:
        return None
    # The last one's lines may not have been read to their end.
    workflows = list(dict.fromkeys(line.workflow_id for line in lines))
    return workflows[-2] if len(workflows) > 1 else workflows[-1]
