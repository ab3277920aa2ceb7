"""Whose waiting executions start next: a fair order over organizations, as pure rules.

Start-time fair queueing, a form of weighted deficit round robin without rounds: each organization
has a clock that runs ahead by what it takes, divided by its weight, and the one whose clock is
furthest behind is next. What it has running counts as well, so that long work is no way round it.
An organization that was idle comes back at the present time, and has nothing saved up.

Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from domain.ids import OrgId, WorkflowId

HIGHEST_PRIORITY = 1
_USUAL_PRIORITY = 3
_TURNS = 10
_TURNS_OF_MUCH = 4
_MUCH = 1_000
SMALLEST_SHARE = 25
"""Executions. Smaller shares help nobody, and a run of so few is a small one."""
# What one run takes a second or so for is not worth to be dealt out.
_SMALL = 250
# Of those that are entitled to more: so many are looked at, the heaviest first.
_HEAVIER = 4
# Shares that differ by less than this part are the same.
_SAME_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingLine:
    """Executions that wait: of one workflow version, at one priority, the oldest first."""

    org_id: OrgId
    workflow_id: WorkflowId
    version: int
    priority: int
    oldest_id: str
    oldest_age_s: float


@dataclass(slots=True, kw_only=True)
class Share:
    """How much of something may run, and how much does now."""

    running: int = 0
    """Executions in open runs, of all workers."""
    max_running: int | None = None
    is_paused: bool = False

    def room(self) -> int | None:
        """How many more executions may run; `None` without a limit."""
        if self.is_paused:
            return 0
        return None if self.max_running is None else max(0, self.max_running - self.running)


@dataclass(slots=True, kw_only=True)
class OrgShare(Share):
    """What an organization may have, and what it has now."""

    weight: float = 1.0
    clock: float = 0.0
    taken: int = 0
    """Executions that were taken since none of it waited."""
    runs: int = 0
    newest_run_age_s: float = float("inf")
    has_begun: bool = False
    """A run of it is being started, or runs since a moment."""

    @property
    def comes_singly(self) -> bool:
        """Whether it comes with single executions: it has had no share of a batch since it was
        idle, and has none now."""
        return self.taken < SMALLEST_SHARE and self.running < SMALLEST_SHARE


@dataclass(slots=True, kw_only=True)
class WorkflowShare(Share):
    """The same of a workflow."""

    max_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How the queue is served."""

    ageing_s: float = 60.0
    """After so long an execution counts as one priority higher, and so on."""
    max_batch: int = 500
    """Executions in one run, where the workflow says nothing."""
    max_batch_beside_small: int = 100
    """Executions in one run, while others come with single ones now and then."""
    opening_s: float = 0.0
    """How long whoever comes alone with much gets no more than a first share, for others may be
    about to come as well; 0: it gets all at once."""
    is_in_step: bool = False
    """Who has had a share waits for those that are at the same share and have just begun. Without
    it whoever is faster by chance is a share ahead."""

    def beside_small_runs(self) -> "Rules":
        """Give the rules for while somebody comes with single executions now and then.

        Each of them would else wait, at every step, for large runs that keep the worker busy.
        """
        return replace(self, max_batch=min(self.max_batch, self.max_batch_beside_small))


@dataclass(slots=True, kw_only=True)
class WorkerRoom:
    """What the worker that asks can take on."""

    runs: int
    """Flow runs that it carries at most."""
    free_runs: int
    """Flow runs that it may still start."""
    free_executions: int
    """Executions that it may still carry; one more run may go beyond it."""
    all_runs: int
    """Flow runs that all workers together may carry."""
    carried: int = 0
    """Executions that it carries now."""

    def carry_one_batch(self, rules: Rules) -> None:
        """Take no other run beside a full one, but for those who have nothing running."""
        self.free_executions = min(self.free_executions, rules.max_batch - self.carried)


@dataclass(frozen=True, slots=True)
class Pick:
    """A line to take from, and how many at the most; by fair shares still to be bounded."""

    line: WaitingLine
    most: int
    is_contended: bool
    is_opening: bool = False
    """It comes alone, and others may be about to."""


@dataclass(slots=True)
class FairPlan:
    """One worker's choice of what to start, made step by step; `time` is the queue's clock."""

    lines: list[WaitingLine]
    orgs: dict[OrgId, OrgShare]
    workflows: dict[WorkflowId, WorkflowShare]
    room: WorkerRoom
    time: float
    rules: Rules = field(default_factory=Rules)

    def choose(self) -> Pick | None:
        """Choose the line that is served next; `None` if nothing may start."""
        if self.room.free_runs <= 0:
            return None
        begun = [org for org in self.orgs.values() if org.has_begun and org.runs > 0]
        able = [line for line in self.lines if self._may_start(line, begun)]
        if not able:
            return None
        level = min(level_of(line, self.rules) for line in able)
        first = min(
            (line for line in able if level_of(line, self.rules) == level),
            key=lambda line: (
                self._turn(self.orgs[line.org_id]),
                -line.oldest_age_s,
                line.oldest_id,
            ),
        )
        contended = len(self._contenders()) > 1
        return Pick(
            first,
            self._most(first),
            is_contended=contended,
            is_opening=not contended and self._is_opening(self.orgs[first.org_id]),
        )

    def heavier_than(self, pick: Pick) -> list[OrgId]:
        """Name those of more weight that wait as well: the heaviest few."""
        weight = self.orgs[pick.line.org_id].weight
        found = {line.org_id for line in self.lines if self.orgs[line.org_id].room() != 0}
        heavier = [org_id for org_id in found if self.orgs[org_id].weight > weight]
        return sorted(heavier, key=lambda id: (-self.orgs[id].weight, id))[:_HEAVIER]

    def size(self, pick: Pick, waiting: Mapping[OrgId, int]) -> int:
        """Say how many of a line go into one run.

        Beside somebody of more weight who has more waiting than one share, a share is as much
        smaller as the weight is: so that all are as far, by weight, after each of their runs.

        Args:
            waiting: how many executions wait, of the line's organization and of `heavier_than`.
        """
        org = self.orgs[pick.line.org_id]
        size = share_of(pick, waiting=waiting[pick.line.org_id], taken=org.taken)
        for org_id in self.heavier_than(pick):
            other = self.orgs[org_id]
            theirs = min(_turn_size(waiting[org_id] + other.taken), self.rules.max_batch)
            if waiting[org_id] > theirs:
                size = min(size, max(SMALLEST_SHARE, round(theirs * org.weight / other.weight)))
        return size

    def take(self, pick: Pick, count: int, *, is_empty: bool) -> None:
        """Note that `count` executions of a line were taken; `is_empty`: none is left of it.

        With none taken the line is passed over: somebody else holds its rows at the moment.
        """
        line = pick.line
        if count == 0:
            self.lines.remove(line)
            return
        org = self.orgs[line.org_id]
        start = max(org.clock, self.time)
        self.time = min(start, self._earliest_start(level_of(line, self.rules)))
        org.clock = start + count / org.weight
        org.running += count
        org.taken += count
        org.runs += 1
        org.newest_run_age_s, org.has_begun = 0.0, True
        self.workflows[line.workflow_id].running += count
        self.room.free_runs -= 1
        self.room.free_executions -= count
        if is_empty:
            self.lines.remove(line)

    def _earliest_start(self, level: int) -> float:
        # Somebody who waits as well and is not at a limit of its own may be further behind than
        # the one that is served: this worker had no place for it. The queue's clock stays with
        # it, for it would else lose what it is behind.
        return min(
            max(self.orgs[line.org_id].clock, self.time)
            for line in self.lines
            if level_of(line, self.rules) <= level
            and self.orgs[line.org_id].room() != 0
            and self.workflows[line.workflow_id].room() != 0
        )

    def _may_start(self, line: WaitingLine, begun: Sequence[OrgShare]) -> bool:
        org, workflow = self.orgs[line.org_id], self.workflows[line.workflow_id]
        if org.room() == 0 or workflow.room() == 0:
            return False
        is_urgent = line.priority < _USUAL_PRIORITY
        if self.rules.is_in_step and not is_urgent and self._is_a_step_ahead(org, begun):
            return False
        if org.runs == 0:
            # For whoever has nothing running a worker with room for several keeps the last one.
            return True
        is_last_place = self.room.free_runs == 1 and self.room.runs > 1
        if is_last_place:
            return False
        if self.room.free_executions <= 0 and not self._has_little(org):
            return False
        return not self._has_its_share(org)

    def _is_opening(self, org: OrgShare) -> bool:
        return self.rules.opening_s > 0 and org.taken == 0 and org.runs == 0

    def _waits_for_others(self, org: OrgShare) -> bool:
        # All that was taken of it is one run, and it was less than one may hold.
        is_first = org.runs == 1 and org.taken == org.running < self.rules.max_batch
        return is_first and org.newest_run_age_s < self.rules.opening_s

    def _has_little(self, org: OrgShare) -> bool:
        # Less than half of its part of what runs. Whoever asks for one execution after the other
        # would else wait with the second, until somebody's large runs are over.
        contenders = [self.orgs[org_id] for org_id in self._contenders()]
        running = sum(each.running for each in contenders)
        return org.running < running * org.weight / sum(each.weight for each in contenders) / 2

    def _is_a_step_ahead(self, org: OrgShare, begun: Sequence[OrgShare]) -> bool:
        # One share, as large as theirs: whoever asks for a single execution is held up by nobody
        # and holds nobody up, nor does anybody whose agents take long, as a run has begun for a
        # moment only.
        if org.taken == 0:
            return False
        start = max(org.clock, self.time)
        return any(
            other is not org
            and abs(start - other.clock) * other.weight <= _SAME_SHARE * other.running / other.runs
            for other in begun
        )

    def _has_its_share(self, org: OrgShare) -> bool:
        # Half of all places are dealt out by weight, so that runs of one organization do not
        # overtake each other while others wait for their first; alone it may have them all.
        contenders = self._contenders()
        if len(contenders) <= 1:
            return self._waits_for_others(org)
        weights = sum(self.orgs[org_id].weight for org_id in contenders)
        places = max(1, int(self.room.all_runs / 2 * org.weight / weights))
        return org.runs >= places and not self._is_furthest_behind(org, contenders)

    def _is_furthest_behind(self, org: OrgShare, contenders: Set[OrgId]) -> bool:
        # Its runs may be small because its weight is: places alone would make it have even less.
        turns = [self._turn(self.orgs[org_id]) for org_id in contenders]
        return min(turns) == self._turn(org) < max(turns)

    def _contenders(self) -> set[OrgId]:
        waiting = {line.org_id for line in self.lines if self.orgs[line.org_id].room() != 0}
        return waiting | {org_id for org_id, org in self.orgs.items() if org.runs > 0}

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


def level_of(line: WaitingLine, rules: Rules) -> int:
    """Say which priority a line has by now: it rises with the age of its oldest execution."""
    risen = int(line.oldest_age_s / rules.ageing_s)
    return max(HIGHEST_PRIORITY, line.priority - risen)


def share_of(pick: Pick, *, waiting: int, taken: int) -> int:
    """Say how many of a line go into one run.

    While others wait as well it is a tenth of what the organization asks for, so that at each
    tenth of the way all are about as far. A run costs Prefect much and an execution little: of
    more than a thousand it is a quarter, and below some number a smaller share helps nobody.

    Args:
        waiting: the organization's waiting executions.
        taken: what was taken since none of it waited.
    """
    if pick.is_opening and waiting <= _SMALL:
        return pick.most
    if not (pick.is_contended or pick.is_opening):
        return pick.most
    return min(pick.most, _turn_size(waiting + taken))


def _turn_size(asked: int) -> int:
    turns = _TURNS if asked <= _MUCH else _TURNS_OF_MUCH
    return max(SMALLEST_SHARE, -(-asked // turns))


def jain_index(shares: Iterable[float]) -> float:
    """Say how equal shares are: 1 if all are the same, 1/n if one has everything.

    Source:
        Jain, Chiu, Hawe, "A Quantitative Measure of Fairness", DEC TR-301, 1984.
    """
    values: Sequence[float] = list(shares)
    squares = sum(value * value for value in values)
    return 1.0 if squares == 0 else sum(values) ** 2 / (len(values) * squares)
