"""The queue as the fair plan sees it: lines, shares, capacity, and the policy's numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from domain.ids import OrgId, WorkflowId

HIGHEST_PRIORITY = 1
SMALLEST_SHARE = 25


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
    """The queue's policy: every number that decides who starts next, and with how many."""

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
    usual_priority: int = 3
    """What is more urgent than this keeps in step with nobody."""
    quanta: int = 10
    """A turn is this part of what an organization asks for: at each tenth all are as far."""
    quanta_of_much: int = 4
    """The same of whoever asks for more than `large_backlog`: a run costs Prefect much."""
    large_backlog: int = 1_000
    """Executions. More than this is much."""
    smallest_share: int = SMALLEST_SHARE
    """Executions. Smaller shares help nobody, and a run of so few is a small one."""
    small_backlog: int = 250
    """Executions. What one run takes a second or so for is not worth to be dealt out."""
    heavier_looked_at: int = 4
    """Of those that are entitled to more, so many are looked at, the heaviest first."""
    same_share: float = 0.25
    """Shares that differ by less than this part are the same."""
    start_grace_s: float = 3.0
    """A run that has not started counts as just begun for so long after its claim."""
    step_s: float = 0.75
    """A run counts as just begun for so long after its start."""
    singles_s: float = 5.0
    """A small run that ended within this time says that somebody comes with single executions."""
    reserves_last_place: bool = True
    """A worker with room for several runs keeps the last place for who has nothing running."""
    lets_little_in: bool = True
    """Who has less than half of its part of what runs starts though the worker is full."""
    deals_out_places: bool = True
    """Half of all places are dealt out by weight while several contend."""
    scales_to_heavier: bool = True
    """Beside somebody of more weight a share is as much smaller as the weight is."""
    holds_clock: bool = True
    """The queue's clock stays with whoever waits and is behind: there was no place for it."""

    def beside_small_runs(self) -> "Rules":
        """Give the rules for while somebody comes with single executions now and then.

        Each of them would else wait, at every step, for large runs that keep the worker busy.
        """
        return replace(self, max_batch=min(self.max_batch, self.max_batch_beside_small))

    def quantum(self, asked: int) -> int:
        """Say how many of an organization's executions are one turn, of all that it asks for."""
        turns = self.quanta if asked <= self.large_backlog else self.quanta_of_much
        return max(self.smallest_share, -(-asked // turns))

    @property
    def counted(self) -> int:
        """How far waiting executions are counted: a turn grows no more beyond."""
        return max(self.large_backlog, self.quanta_of_much * self.max_batch) + 1


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


@dataclass(frozen=True, slots=True)
class Begun:
    """An organization whose runs have just begun: whose clock, and how near counts as in step."""

    org_id: OrgId
    clock: float
    reach: float


@dataclass(slots=True)
class Others:
    """Those that contend but are not in a plan, as sums: the plan reads a few, not all."""

    count: int = 0
    weight: float = 0.0
    running: int = 0
    """Executions in open runs."""
    min_turn: float = float("inf")
    max_turn: float = float("-inf")
    earliest: dict[int, float] = field(default_factory=dict[int, float])
    """By effective priority: the clock that is furthest behind, of who could start now."""
    begun: Sequence[Begun] = ()
    heaviest: dict[OrgId, OrgShare] = field(default_factory=dict[OrgId, OrgShare])
    """Of those that wait and have more weight than some in the plan: the heaviest few."""

    def add(self, *, level: int, turn: float, clock: float, weight: float, running: int) -> None:
        """Count one more that waits, which another claimer holds at the moment."""
        self.count += 1
        self.weight += weight
        self.running += running
        self.min_turn, self.max_turn = min(self.min_turn, turn), max(self.max_turn, turn)
        self.earliest[level] = min(clock, self.earliest.get(level, clock))


def level_of(line: WaitingLine, rules: Rules) -> int:
    """Say which priority a line has by now: it rises with the age of its oldest execution."""
    risen = int(line.oldest_age_s / rules.ageing_s)
    return max(HIGHEST_PRIORITY, line.priority - risen)


def jain_index(shares: Iterable[float]) -> float:
    """Say how equal shares are: 1 if all are the same, 1/n if one has everything.

    Source:
        Jain, Chiu, Hawe, "A Quantitative Measure of Fairness", DEC TR-301, 1984.
    """
    values: Sequence[float] = list(shares)
    squares = sum(value * value for value in values)
    return 1.0 if squares == 0 else sum(values) ** 2 / (len(values) * squares)
