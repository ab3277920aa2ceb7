"""Who comes next by the queue's heads, and what everybody else who contends has together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from domain.ids import OrgId
from domain.queue_shares import Begun, OrgShare, Others, Rules
from persistence.queue_heads import HAS_WAITING, NOW, OPEN_RUNS, moments
from persistence.sessions import PlatformSession

_LEVEL = (
    "greatest(1, least("
    + ", ".join(f"{n} - floor((t.now - first_{n}) / :ageing_s)" for n in range(1, 6))
    + "))::int"
)
# One scan of a narrow table: those that may start something, the best first, and everybody else
# who contends as sums.
_SURVEY = text(f"""
with t as (select {NOW} as now), open as materialized (
    select org_id, count(*) as runs, sum(size)::bigint as running from runs
    where closed_at is null group by 1
), contending as materialized (
    select h.org_id, h.weight, h.clock, h.taken, h.max_running, o.runs is not null as has_runs,
        coalesce(o.running, 0) as running,
        greatest(h.clock, :time) + coalesce(o.running, 0) / h.weight as turn,
        {HAS_WAITING} and not h.is_paused
            and (h.max_running is null or h.max_running > coalesce(o.running, 0)) as is_waiting,
        coalesce(h.retry_at <= t.now, true) as is_able,
        case when {HAS_WAITING} then {_LEVEL} end as level,
        least(first_1, first_2, first_3, first_4, first_5) as first_s
    from t cross join queue_heads h left join open o using (org_id)
    where {HAS_WAITING} or o.runs is not null
), best as materialized (
    select org_id, level, turn, weight, clock, running from contending
    where is_waiting and is_able and org_id <> all(:seen)
    order by level, turn, first_s, org_id limit :most
), others as (
    select * from contending c where (is_waiting or has_runs) and org_id <> all(:known)
        and not exists (select from best b where b.org_id = c.org_id)
)
select (select coalesce(json_agg(row_to_json(b)), '[]') from best b) as best,
    (select row_to_json(s) from (
        select count(*) as orgs, coalesce(sum(weight), 0) as weight,
            coalesce(sum(running), 0) as running, min(turn) as min_turn, max(turn) as max_turn,
            max(weight) filter (where is_waiting) as max_weight
        from others
    ) s) as others,
    (select coalesce(json_object_agg(level, clock), '{{}}') from (
        select level, min(clock) as clock from others where is_waiting and is_able group by level
    ) e) as earliest
""")
_HEAVIEST = text(f"""
select h.org_id, h.weight, h.taken, h.clock, h.max_running, coalesce(o.running, 0) as running
from queue_heads h left join (
    select org_id, sum(size)::bigint as running from runs where closed_at is null group by 1
) o using (org_id)
where h.org_id <> all(:ids) and {HAS_WAITING} and not h.is_paused and h.weight > :weight
    and (h.max_running is null or h.max_running > coalesce(o.running, 0))
order by h.weight desc, h.org_id limit :most
""")
_BEGUN = text(f"""
select h.org_id, h.clock, h.weight, o.runs, o.running
from ({OPEN_RUNS}) o join queue_heads h using (org_id)
where o.has_begun and h.org_id <> all(:ids)
""")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An organization that may start something, and where it stands among all."""

    org_id: OrgId
    key: tuple[int, float]
    weight: float
    clock: float
    running: int


def survey(
    session: PlatformSession,
    rules: Rules,
    *,
    time: float,
    seen: Collection[OrgId],
    known: Collection[OrgId],
    most: int,
) -> tuple[list[Candidate], Others]:
    """List the organizations that come first by their heads, and sum up the others.

    Nothing is locked: what is chosen by it is read again under its lock.

    Args:
        seen: not listed again.
        known: of these, those that are in the plan, which are no others.
        most: how many to list.
    """
    row = session.execute(
        _SURVEY,
        {
            "ageing_s": rules.ageing_s,
            "time": time,
            "seen": list(seen),
            "known": list(known),
            "most": most,
        },
    ).one()
    best = [
        Candidate(
            OrgId(b["org_id"]), (b["level"], b["turn"]), b["weight"], b["clock"], b["running"]
        )
        for b in row.best
    ]
    best.sort(key=lambda each: each.key)
    sums = row.others
    others = Others(count=sums["orgs"], weight=sums["weight"], running=sums["running"])
    others.earliest = {int(level): clock for level, clock in row.earliest.items()}
    if others.count:
        others.min_turn, others.max_turn = sums["min_turn"], sums["max_turn"]
    ids = [*known, *(each.org_id for each in best)]
    lightest = min((each.weight for each in best), default=float("inf"))
    if (sums["max_weight"] or 0.0) > lightest:
        others.heaviest = _list_heaviest(session, rules, ids, lightest)
    if rules.is_in_step and best:
        others.begun = [
            Begun(OrgId(b.org_id), b.clock, rules.same_share * b.running / b.runs / b.weight)
            for b in session.execute(_BEGUN, {"ids": ids, **moments(rules)})
        ]
    return best, others


def _list_heaviest(
    session: PlatformSession, rules: Rules, ids: Sequence[OrgId], lightest: float
) -> dict[OrgId, OrgShare]:
    rows = session.execute(
        _HEAVIEST, {"ids": ids, "weight": lightest, "most": rules.heavier_looked_at}
    )
    return {
        OrgId(row.org_id): OrgShare(
            weight=row.weight,
            clock=row.clock,
            taken=row.taken,
            max_running=row.max_running,
            running=row.running,
        )
        for row in rows
    }
