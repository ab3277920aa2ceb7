"""Whose waiting executions start next: a fair order over organizations, as pure rules.

Start-time fair queueing, a form of weighted deficit round robin without rounds: each organization
has a clock that runs ahead by what it takes, divided by its weight, and the one whose clock is
furthest behind is next. What it has running counts as well, so that long work is no way round it.
An organization that was idle comes back at the present time, and has nothing saved up.

Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from domain.ids import OrgId, WorkflowId

HIGHEST_PRIORITY = 1
_TURNS = 10
_TURNS_OF_MUCH = 4
_MUCH = 1_000
_SMALLEST_SHARE = 25


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


@dataclass(slots=True, kw_only=True)
class WorkflowShare(Share):
    """The same of a workflow."""

    max_batch: int | None = None


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


@dataclass(frozen=True, slots=True)
class Rules:
    """How the queue is served."""

    ageing_s: float = 60.0
    """After so long an execution counts as one priority higher, and so on."""
    max_batch: int = 500
    """Executions in one run, where the workflow says nothing."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A line to take from, and how many at the most; by fair shares still to be bounded."""

    line: WaitingLine
    most: int
    is_contended: bool


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
        able = [line for line in self.lines if self._may_start(line)]
        if not able:
            return None
        level = min(level_of(line, self.rules) for line in able)
        first = min(
            (line for line in able if level_of(line, self.rules) == level),
            key=lambda line: (self._turn(line.org_id), -line.oldest_age_s, line.oldest_id),
        )
        return Pick(first, self._most(first), is_contended=len(self._contenders()) > 1)

    def take(self, pick: Pick, count: int, *, is_empty: bool) -> None:
        """Note that `count` executions of a line were taken; `is_empty`: none is left of it.

        With none taken the line is passed over: somebody else holds its rows at the moment.
        """
        line = pick.line
        if is_empty or count == 0:
            self.lines.remove(line)
        if count == 0:
            return
        org = self.orgs[line.org_id]
        start = max(org.clock, self.time)
        self.time = start
        org.clock = start + count / org.weight
        org.running += count
        org.taken += count
        org.runs += 1
        self.workflows[line.workflow_id].running += count
        self.room.free_runs -= 1
        self.room.free_executions -= count

    def _may_start(self, line: WaitingLine) -> bool:
        org, workflow = self.orgs[line.org_id], self.workflows[line.workflow_id]
        if org.room() == 0 or workflow.room() == 0:
            return False
        if org.runs == 0:
            # For whoever has nothing running a worker with room for several keeps the last one.
            return True
        is_last_place = self.room.free_runs == 1 and self.room.runs > 1
        if is_last_place or self.room.free_executions <= 0:
            return False
        return not self._has_its_share(org)

    def _has_its_share(self, org: OrgShare) -> bool:
        # Half of all places are dealt out by weight, so that runs of one organization do not
        # overtake each other while others wait for their first; alone it may have them all.
        contenders = self._contenders()
        if len(contenders) <= 1:
            return False
        weights = sum(self.orgs[org_id].weight for org_id in contenders)
        return org.runs >= max(1, int(self.room.all_runs / 2 * org.weight / weights))

    def _contenders(self) -> set[OrgId]:
        waiting = {line.org_id for line in self.lines if self.orgs[line.org_id].room() != 0}
        return waiting | {org_id for org_id, org in self.orgs.items() if org.runs > 0}

    def _turn(self, org_id: OrgId) -> float:
        org = self.orgs[org_id]
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
    if not pick.is_contended:
        return pick.most
    asked = waiting + taken
    turns = _TURNS if asked <= _MUCH else _TURNS_OF_MUCH
    return min(pick.most, max(_SMALLEST_SHARE, -(-asked // turns)))


def jain_index(shares: Iterable[float]) -> float:
    """Say how equal shares are: 1 if all are the same, 1/n if one has everything.

    Source:
        Jain, Chiu, Hawe, "A Quantitative Measure of Fairness", DEC TR-301, 1984.
    """
    values: Sequence[float] = list(shares)
    squares = sum(value * value for value in values)
    return 1.0 if squares == 0 else sum(values) ** 2 / (len(values) * squares)
