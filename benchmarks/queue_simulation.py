"""A worker that serves a queue by the rules, in simulated time: who had got what by when.

Runs share one processor evenly, and each costs something whatever it carries, as they do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.fairness import FairPlan, Pick
from domain.ids import OrgId, WorkflowId
from domain.queue_shares import OrgShare, Rules, WaitingLine, WorkerRoom, WorkflowShare

RUN_S = 0.4
EXECUTION_S = 0.0011
POLL_S = 0.4
_DONE_S = 1e-9


@dataclass(frozen=True, slots=True)
class Arrival:
    """Executions that an organization asks for at once."""

    at_s: float
    org: str
    count: int


@dataclass(slots=True)
class Live:
    """A run under way: it is started, its agents wait, and their answers are worked on."""

    org: str
    size: int
    claimed_s: float
    start_s: float
    wait_s: float
    work_s: float
    """What is left of each of the three."""
    started_at_s: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it leaves the processor to the others."""
        return self.start_s <= _DONE_S < self.wait_s

    @property
    def left_s(self) -> float:
        """What is left of the part that it is at."""
        if self.start_s > _DONE_S:
            return self.start_s
        return self.wait_s if self.is_waiting else self.work_s

    def go_on(self, seconds: float) -> None:
        """Do some of it."""
        if self.start_s > _DONE_S:
            self.start_s -= seconds
        elif self.is_waiting:
            self.wait_s -= seconds
        else:
            self.work_s -= seconds


@dataclass(slots=True)
class SimulatedQueue:
    """The tables and workers, as far as the rules look at them."""

    weights: dict[str, float]
    workers: int = 1
    limit: int = 16
    executions: int = 1_000
    rules: Rules = field(default_factory=Rules)
    run_s: float = RUN_S
    waits: dict[str, float] = field(default_factory=dict)
    """How long an organization's agents wait in each run, without using the processor."""
    now: float = 0.0
    time: float = 0.0
    waiting: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    clocks: dict[str, float] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    live: list[list[Live]] = field(default_factory=list)
    ends: list[tuple[float, str, int]] = field(default_factory=list)
    starts: list[tuple[float, str, int, float]] = field(default_factory=list)
    """When, whose, how many, and how long the first of them had waited."""

    def serve(self, arrivals: Sequence[Arrival]) -> None:
        """Serve until all is done."""
        coming = sorted(arrivals, key=lambda each: each.at_s)
        self.live = [[] for _ in range(self.workers)]
        while coming or any(self.live) or any(self.waiting.values()):
            while coming and coming[0].at_s <= self.now:
                arrival = coming.pop(0)
                self.waiting.setdefault(arrival.org, []).append((arrival.at_s, arrival.count))
            self._claim()
            # A worker asks by the clock as well, in case nothing wakes it.
            next_end = min(self._next_end_s(), POLL_S)
            if coming and coming[0].at_s <= self.now + next_end:
                self._pass(coming[0].at_s - self.now)
                self.now = coming[0].at_s
            else:
                self._pass(next_end)
                self._end()

    @property
    def _all_live(self) -> list[Live]:
        return [run for runs in self.live for run in runs]

    def _next_end_s(self) -> float:
        """Say when the next part of a run ends."""
        sharing = sum(not run.is_waiting for run in self._all_live)
        return min(
            (run.left_s * (1 if run.is_waiting else sharing) for run in self._all_live),
            default=float("inf"),
        )

    def _pass(self, seconds: float) -> None:
        sharing = sum(not run.is_waiting for run in self._all_live)
        self.now += seconds
        for run in self._all_live:
            run.go_on(seconds if run.is_waiting else seconds / sharing)
            if run.started_at_s is None and run.start_s <= _DONE_S:
                run.started_at_s = self.now

    def _end(self) -> None:
        for runs in self.live:
            for run in [run for run in runs if run.work_s <= _DONE_S]:
                runs.remove(run)
                self.ends.append((self.now, run.org, run.size))

    def _claim(self) -> None:
        for runs in self.live:
            plan = self._plan(runs)
            while (pick := plan.choose()) is not None:
                waiting = {OrgId(name): self._count(name) for name in self.weights}
                self._take(plan, pick, runs, plan.size(pick, waiting))
            self.time = plan.time
            for name, org in plan.orgs.items():
                self.clocks[name] = org.clock
                self.taken[name] = org.taken if self._count(name) else 0

    def _count(self, name: str) -> int:
        return sum(count for _, count in self.waiting.get(name, ()))

    def _take(self, plan: FairPlan, pick: Pick, runs: list[Live], wanted: int) -> None:
        name = pick.line.org_id
        queue, left = self.waiting[name], wanted
        if not queue:
            plan.take(pick, 0, is_empty=True)
            return
        first_s = queue[0][0]
        while queue and left:
            at_s, count = queue[0]
            part = min(count, left)
            left -= part
            queue[0] = (at_s, count - part)
            if part == count:
                queue.pop(0)
        size = wanted - left
        plan.take(pick, size, is_empty=left > 0)
        half_s = self.run_s / 2
        wait_s = self.waits.get(name, 0.0)
        runs.append(Live(name, size, self.now, half_s, wait_s, half_s + EXECUTION_S * size))
        self.starts.append((self.now, name, size, self.now - first_s))

    def _has_begun(self, run: Live) -> bool:
        # As `persistence/queue.py` says it.
        if run.started_at_s is None:
            return self.now - run.claimed_s < 3
        return self.now - run.started_at_s < 0.75

    def _plan(self, runs: list[Live]) -> FairPlan:
        lines = [
            WaitingLine(
                org_id=OrgId(name),
                workflow_id=WorkflowId(f"wf_{name}"),
                version=1,
                priority=3,
                oldest_id=f"exec_{place:03d}",
                oldest_age_s=self.now - queue[0][0],
            )
            for place, (name, queue) in enumerate(self.waiting.items())
            if queue
        ]
        flat = self._all_live
        orgs = {
            OrgId(name): OrgShare(
                weight=weight,
                clock=self.clocks.get(name, 0.0),
                taken=self.taken.get(name, 0),
                running=sum(run.size for run in flat if run.org == name),
                runs=sum(run.org == name for run in flat),
                has_begun=any(self._has_begun(run) for run in flat if run.org == name),
                newest_run_age_s=min(
                    (self.now - run.claimed_s for run in flat if run.org == name),
                    default=float("inf"),
                ),
            )
            for name, weight in self.weights.items()
        }
        room = WorkerRoom(
            runs=self.limit,
            free_runs=self.limit - len(runs),
            free_executions=self.executions - sum(run.size for run in runs),
            all_runs=self.limit * self.workers,
        )
        workflows = {WorkflowId(f"wf_{name}"): WorkflowShare() for name in self.weights}
        return FairPlan(lines, orgs, workflows, room, self.time, self.rules)
