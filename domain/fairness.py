"""Whose waiting executions start next: a fair order over organizations, as pure rules.

Start-time fair queueing, a form of weighted deficit round robin without rounds: each organization
has a clock that runs ahead by what it takes, divided by its weight, and the one whose clock is
furthest behind is next. What it has running counts as well, so that long work is no way round it.
An organization that was idle comes back at the present time, and has nothing saved up.

A plan holds the few organizations that a claim may pick, with their lines; the rest of those that
contend are sums (`Others`), so that a pick costs the same however many wait.

Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.ids import OrgId, WorkflowId
from domain.queue_shares import (
    Begun,
    OrgShare,
    Others,
    Rules,
    WaitingLine,
    WorkerRoom,
    WorkflowShare,
    level_of,
)


@dataclass(frozen=True, slots=True)
class Pick:
    """A line to take from, and how many at the most; by fair shares still to be bounded."""

    line: WaitingLine
    most: int
    is_contended: bool
    is_opening: bool = False
    """It comes alone, and others may be about to."""
    key: tuple[int, float] = (0, 0.0)
    """Effective priority and turn: whoever is not in the plan and has a smaller one comes first."""


@dataclass(frozen=True, slots=True)
class _Totals:
    """What all contenders have together, those outside of the plan included."""

    count: int
    weight: float
    running: int
    min_turn: float
    max_turn: float


@dataclass(slots=True)
class FairPlan:
    """One worker's choice of what to start, made step by step; `time` is the queue's clock."""

    lines: list[WaitingLine]
    orgs: dict[OrgId, OrgShare]
    workflows: dict[WorkflowId, WorkflowShare]
    room: WorkerRoom
    time: float
    rules: Rules = field(default_factory=Rules)
    others: Others = field(default_factory=Others)
    _by_org: dict[OrgId, list[WaitingLine]] = field(init=False)
    _steps: "_Steps" = field(init=False)

    def __post_init__(self) -> None:
        self._by_org = {}
        self._steps = _Steps(self.others.begun)
        for line in sorted(self.lines, key=self._order):
            self._by_org.setdefault(line.org_id, []).append(line)

    def add_lines(self, lines: Iterable[WaitingLine]) -> None:
        """Take further lines into the plan; their organizations and workflows are known to it."""
        for line in sorted(lines, key=self._order):
            self.lines.append(line)
            self._by_org.setdefault(line.org_id, []).append(line)

    def set_others(self, others: Others) -> None:
        """Replace the sums of who contends outside of the plan."""
        self.others = others
        self._steps = _Steps(others.begun)

    def choose(self) -> Pick | None:
        """Choose the line that is served next; `None` if nothing may start.

        Of each organization only its first line that may start is looked at: a choice costs what
        the plan's organizations are, not what waits.
        """
        if self.room.free_runs <= 0:
            return None
        totals = self._totals()
        begun = [org for org in self.orgs.values() if org.has_begun and org.runs > 0]
        able = [
            line
            for org_id, lines in self._by_org.items()
            if self._has_place(self.orgs[org_id], totals)
            and (line := self._first_able(self.orgs[org_id], lines, begun)) is not None
        ]
        if not able:
            return None
        first = min(able, key=lambda line: (*self._key(line), -line.oldest_age_s, line.oldest_id))
        contended = totals.count > 1
        return Pick(
            first,
            self._most(first),
            is_contended=contended,
            is_opening=not contended and self._is_opening(self.orgs[first.org_id]),
            key=self._key(first),
        )

    def heavier_than(self, pick: Pick) -> list[OrgId]:
        """Name those of more weight that wait as well: the heaviest few."""
        if not self.rules.scales_to_heavier:
            return []
        weight = self.orgs[pick.line.org_id].weight
        found = {id: self.orgs[id] for id in self._by_org if self.orgs[id].room() != 0}
        found |= self.others.heaviest
        heavier = [org_id for org_id, org in found.items() if org.weight > weight]
        return sorted(heavier, key=lambda id: (-found[id].weight, id))[
            : self.rules.heavier_looked_at
        ]

    def size(self, pick: Pick, waiting: Mapping[OrgId, int]) -> int:
        """Say how many of a line go into one run.

        Beside somebody of more weight who has more waiting than one share, a share is as much
        smaller as the weight is: so that all are as far, by weight, after each of their runs.

        Args:
            waiting: how many executions wait, of the line's organization and of `heavier_than`.
        """
        org = self.orgs[pick.line.org_id]
        size = share_of(pick, waiting=waiting[pick.line.org_id], taken=org.taken, rules=self.rules)
        for org_id in self.heavier_than(pick):
            other = self.others.heaviest.get(org_id) or self.orgs[org_id]
            theirs = min(self.rules.quantum(waiting[org_id] + other.taken), self.rules.max_batch)
            if waiting[org_id] > theirs:
                scaled = round(theirs * org.weight / other.weight)
                size = min(size, max(self.rules.smallest_share, scaled))
        return size

    def take(self, pick: Pick, count: int, *, is_empty: bool) -> None:
        """Note that `count` executions of a line were taken; `is_empty`: none is left of it.

        With none taken the line is passed over: somebody else holds its rows at the moment.
        """
        line = pick.line
        if count == 0:
            self._remove(line)
            return
        org = self.orgs[line.org_id]
        start = max(org.clock, self.time)
        if self.rules.holds_clock:
            self.time = min(start, self._earliest_start(level_of(line, self.rules)))
        else:
            self.time = start
        org.clock = start + count / org.weight
        org.running += count
        org.taken += count
        org.runs += 1
        org.newest_run_age_s, org.has_begun = 0.0, True
        self.workflows[line.workflow_id].running += count
        self.room.free_runs -= 1
        self.room.free_executions -= count
        if is_empty:
            self._remove(line)

    def _remove(self, line: WaitingLine) -> None:
        self.lines.remove(line)
        left = self._by_org[line.org_id]
        left.remove(line)
        if not left:
            del self._by_org[line.org_id]

    def _order(self, line: WaitingLine) -> tuple[int, float, str]:
        return level_of(line, self.rules), -line.oldest_age_s, line.oldest_id

    def _key(self, line: WaitingLine) -> tuple[int, float]:
        return level_of(line, self.rules), self._turn(self.orgs[line.org_id])

    def _totals(self) -> _Totals:
        known = [
            org
            for org_id, org in self.orgs.items()
            if org.runs > 0 or (org_id in self._by_org and org.room() != 0)
        ]
        turns = [self._turn(org) for org in known]
        others = self.others
        return _Totals(
            count=len(known) + others.count,
            weight=sum(org.weight for org in known) + others.weight,
            running=sum(org.running for org in known) + others.running,
            min_turn=min((*turns, others.min_turn)),
            max_turn=max((*turns, others.max_turn)),
        )

    def _earliest_start(self, level: int) -> float:
        # Somebody who waits as well and is not at a limit of its own may be further behind than
        # the one that is served: this worker had no place for it. The queue's clock stays with
        # it, for it would else lose what it is behind.
        known = [
            max(self.orgs[org_id].clock, self.time)
            for org_id, lines in self._by_org.items()
            if self.orgs[org_id].room() != 0
            and any(
                self.workflows[line.workflow_id].room() != 0
                for line in lines
                if level_of(line, self.rules) <= level
            )
        ]
        rest = [at for each, at in self.others.earliest.items() if each <= level]
        return min((*known, *(max(at, self.time) for at in rest)))

    def _first_able(
        self, org: OrgShare, lines: Sequence[WaitingLine], begun: Sequence[OrgShare]
    ) -> WaitingLine | None:
        waits = self.rules.is_in_step and self._is_a_step_ahead(org, begun)
        return next(
            (
                line
                for line in lines
                if self.workflows[line.workflow_id].room() != 0
                and not (waits and line.priority >= self.rules.usual_priority)
            ),
            None,
        )

    def _has_place(self, org: OrgShare, totals: _Totals) -> bool:
        if org.room() == 0:
            return False
        if org.runs == 0:
            # For whoever has nothing running a worker with room for several keeps the last one.
            return True
        is_last_place = self.room.free_runs == 1 and self.room.runs > 1
        if is_last_place and self.rules.reserves_last_place:
            return False
        if self.room.free_executions <= 0 and not self._has_little(org, totals):
            return False
        return not self._has_its_share(org, totals)

    def _is_opening(self, org: OrgShare) -> bool:
        return self.rules.opening_s > 0 and org.taken == 0 and org.runs == 0

    def _waits_for_others(self, org: OrgShare) -> bool:
        # All that was taken of it is one run, and it was less than one may hold.
        is_first = org.runs == 1 and org.taken == org.running < self.rules.max_batch
        return is_first and org.newest_run_age_s < self.rules.opening_s

    def _has_little(self, org: OrgShare, totals: _Totals) -> bool:
        # Less than half of its part of what runs. Whoever asks for one execution after the other
        # would else wait with the second, until somebody's large runs are over.
        if not self.rules.lets_little_in:
            return False
        return org.running < totals.running * org.weight / totals.weight / 2

    def _is_a_step_ahead(self, org: OrgShare, begun: Sequence[OrgShare]) -> bool:
        # One share, as large as theirs: whoever asks for a single execution is held up by nobody
        # and holds nobody up, nor does anybody whose agents take long, as a run has begun for a
        # moment only.
        if org.taken == 0:
            return False
        start = max(org.clock, self.time)
        return self._steps.has(start) or any(
            other is not org and abs(start - other.clock) <= reach_of(other, self.rules)
            for other in begun
        )

    def _has_its_share(self, org: OrgShare, totals: _Totals) -> bool:
        # Half of all places are dealt out by weight, so that runs of one organization do not
        # overtake each other while others wait for their first; alone it may have them all.
        if totals.count <= 1:
            return self._waits_for_others(org)
        if not self.rules.deals_out_places:
            return False
        places = max(1, int(self.room.all_runs / 2 * org.weight / totals.weight))
        # Its runs may be small because its weight is: places alone would make it have even less.
        is_furthest_behind = totals.min_turn == self._turn(org) < totals.max_turn
        return org.runs >= places and not is_furthest_behind

    def _turn(self, org: OrgShare) -> float:
        return max(org.clock, self.time) + org.running / org.weight

    def _most(self, line: WaitingLine) -> int:
        org, workflow = self.orgs[line.org_id], self.workflows[line.workflow_id]
        bounds = [
            self.rules.max_batch if workflow.max_batch is None else workflow.max_batch,
            org.room(),
            workflow.room(),
        ]
        return max(1, min(bound for bound in bounds if bound is not None))


class _Steps:
    """Where on the clock others have just begun: spans, merged, so that one look finds any."""

    def __init__(self, begun: Sequence[Begun]) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []
        for low, high in sorted((b.clock - b.reach, b.clock + b.reach) for b in begun):
            if self._ends and low <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], high)
            else:
                self._starts.append(low)
                self._ends.append(high)

    def has(self, at: float) -> bool:
        """Whether a place on the clock lies in one of the spans."""
        place = bisect_right(self._starts, at) - 1
        return place >= 0 and at <= self._ends[place]


def reach_of(org: OrgShare, rules: Rules) -> float:
    """Say how far on the clock an organization's runs count as the same share as its own."""
    return rules.same_share * org.running / org.runs / org.weight


def share_of(pick: Pick, *, waiting: int, taken: int, rules: Rules | None = None) -> int:
    """Say how many of a line go into one run.

    While others wait as well it is a tenth of what the organization asks for, so that at each
    tenth of the way all are about as far. A run costs Prefect much and an execution little: of
    more than a thousand it is a quarter, and below some number a smaller share helps nobody.

    Args:
        waiting: the organization's waiting executions.
        taken: what was taken since none of it waited.
    """
    rules = rules or Rules()
    if pick.is_opening and waiting <= rules.small_backlog:
        return pick.most
    if not (pick.is_contended or pick.is_opening):
        return pick.most
    return min(pick.most, rules.quantum(waiting + taken))
