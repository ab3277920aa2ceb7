"""The cases of the fairness benchmark: who asks for what and when, on the real stack."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.shares import End
from deployments.bench.agents import bench_definition, waiting_definition
from deployments.bench.failures import BenchFailed
from deployments.bench.ground import Ground
from deployments.bench.steps import make_input
from deployments.bench.tenants import USER, Tenant, add_tenants, make_token, wait_published
from deployments.bench.usage import settle
from domain.ids import OrgId
from domain.limits import OrgLimits
from domain.workflows import WorkflowDefinition
from persistence.execution_batches import add_batch
from persistence.execution_targets import ExecutionWish
from persistence.limits import set_org_limits

_LOOK_S = 0.25
_LIMIT_S = 600.0
_CHUNK = 10_000

_OPEN = "select count(*) from executions where org_id = any(%s) and completed_at is null"
_ENDS = """
select org_id, extract(epoch from completed_at)::float, status from executions
where org_id = any(%s) order by completed_at
"""
_WAITS = """
select extract(epoch from e.created_at)::float,
    extract(epoch from r.created_at - e.created_at)::float,
    extract(epoch from e.started_at - e.created_at)::float,
    extract(epoch from e.completed_at - e.created_at)::float
from executions e join runs r on r.id = e.run_id where e.org_id = %s order by e.id
"""
_RUNS = "select count(*) from runs where org_id = any(%s)"


@dataclass(frozen=True, slots=True)
class Wait:
    """How one execution did, in seconds since it was asked for; `at_s` is when that was."""

    at_s: float
    claimed_s: float
    started_s: float
    ended_s: float


@dataclass(slots=True)
class Group:
    """The organizations of one case, which no other case knows."""

    ground: Ground
    tenants: list[Tenant]
    weights: dict[str, float]

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [tenant.org_id for tenant in self.tenants]

    def fill(self, tenant: Tenant, count: int) -> None:
        """Queue executions of one of them."""
        for first in range(0, count, _CHUNK):
            inputs = [make_input(each) for each in range(first, min(count, first + _CHUNK))]
            with self.ground.database.org(tenant.org_id, user_id=USER) as session:
                wish = ExecutionWish(workflow=tenant.workflow.id, labels={})
                add_batch(session, wish, inputs, batch_id=f"bench-{uuid4().hex[:12]}")

    def wait(self, *, of: Sequence[str] | None = None) -> None:
        """Wait until all has ended.

        Raises:
            BenchFailed: it does not.
        """
        deadline = time.monotonic() + _LIMIT_S
        with self.ground.connect() as connection:
            while _one(connection, _OPEN, list(of or self.ids)) != 0:
                if time.monotonic() > deadline:
                    raise BenchFailed("The executions did not end.")
                time.sleep(_LOOK_S)

    def ends(self) -> list[End]:
        """Read when each execution ended.

        Raises:
            BenchFailed: one did not end well.
        """
        with self.ground.connect() as connection:
            rows = connection.execute(_ENDS, [self.ids]).fetchall()
        if any(status != "COMPLETED" for _, _, status in rows):
            raise BenchFailed("Executions did not end as COMPLETED.")
        first = rows[0][1]
        return [End(at_s - first, org) for org, at_s, _ in rows]

    def runs(self) -> int:
        """Count the flow runs that it took."""
        with self.ground.connect() as connection:
            return _one(connection, _RUNS, self.ids)


def make_group(
    ground: Ground,
    kind: str,
    weights: Sequence[float],
    *,
    define: Callable[[int], WorkflowDefinition] = lambda _: bench_definition(),
) -> Group:
    """Make organizations, each with a workflow that Prefect knows, and let the stack get quiet."""
    tenants = add_tenants(ground.database, len(weights), kind=kind, define=define)
    for tenant, weight in zip(tenants, weights, strict=True):
        with ground.database.org(tenant.org_id, user_id=USER) as session:
            set_org_limits(session, OrgLimits(weight=weight))
    wait_published(ground, tenants)
    settle(ground.usage)
    by_org = {str(t.org_id): w for t, w in zip(tenants, weights, strict=True)}
    return Group(ground, tenants, by_org)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Organizations that each want the same number of executions."""

    kind: str
    weights: tuple[float, ...]
    each: int
    workers: int = 1
    apart_s: float | None = None
    """Seconds from one to the next, with workers at work; `None`: all wait before these start."""
    seconds: tuple[float, ...] = ()
    """How long the agent of each takes; by default the three steps, which take none."""
    until_first: bool = False
    """Counted until the first one has nothing left; otherwise until all is done."""


def run_crowd(ground: Ground, crowd: Crowd) -> tuple[Group, list[End]]:
    """Have everybody ask, and everything done; return the ends that count."""

    def define(place: int) -> WorkflowDefinition:
        return waiting_definition(crowd.seconds[place]) if crowd.seconds else bench_definition()

    group = make_group(ground, crowd.kind, crowd.weights, define=define)
    if crowd.apart_s is None:
        for tenant in group.tenants:
            group.fill(tenant, crowd.each)
    with ExitStack() as stack:
        for number in range(crowd.workers):
            stack.enter_context(ground.working(name=f"worker-{number}"))
        if crowd.apart_s is not None:
            _warm_up(ground, crowd.kind)
            for place, tenant in enumerate(group.tenants):
                time.sleep(crowd.apart_s if place else 0)
                group.fill(tenant, crowd.each)
        group.wait()
    ends = group.ends()
    if crowd.until_first:
        last = min(max(each.at_s for each in ends if each.org == org) for org in group.ids)
        ends = [each for each in ends if each.at_s <= last]
    return group, ends


def _warm_up(ground: Ground, kind: str) -> None:
    """Have a worker that has just started carry something out."""
    other = make_group(ground, f"{kind}_warm", (1.0,))
    other.fill(other.tenants[0], 1)
    other.wait()


@dataclass(slots=True)
class Beat:
    """One execution of an organization every second, through the API, until it is stopped."""

    ground: Ground
    tenant: Tenant
    token: str
    problems: list[str] = field(default_factory=list[str])
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Beat":
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _go_on(self) -> None:
        due, number = time.monotonic(), 0
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        client = http.client.HTTPConnection("127.0.0.1", self.ground.api_port, timeout=60)
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due, number = due + 1.0, number + 1
            wish = {"workflow_id": self.tenant.workflow.id, "input": make_input(number)}
            client.request("POST", "/api/v1/executions", json.dumps(wish), headers)
            answer = client.getresponse()
            answer.read()
            if answer.status != http.client.ACCEPTED:
                self.problems.append(f"The API answered {answer.status}.")
        client.close()


@dataclass(frozen=True, slots=True)
class LightAndHeavy:
    """How the light organization did alone, and beside the heavy one, which took `heavy_s`."""

    alone: list[Wait]
    beside: list[Wait]
    heavy_s: float
    heavy_runs: int


def run_light_and_heavy(ground: Ground, *, alone_s: float, heavy: int) -> LightAndHeavy:
    """Let the light one go on alone for a while, then beside one with much in the queue."""
    group = make_group(ground, "mixed", (1.0, 1.0))
    light, big = group.tenants
    with ground.working():
        _warm_up(ground, "mixed")
        settle(ground.usage)
        with Beat(ground, light, make_token(ground.database, light)) as beat:
            # The first few also find connections and caches cold.
            time.sleep(5 + alone_s)
            filled_at = time.time()
            group.fill(big, heavy)
            group.wait(of=[big.org_id])
            done_at = time.time()
        group.wait()
    if beat.problems:
        raise BenchFailed(beat.problems[0])
    waits = read_waits(ground, light.org_id)
    warm_at = waits[0].at_s + 5
    return LightAndHeavy(
        alone=[each for each in waits if warm_at <= each.at_s < filled_at],
        beside=[each for each in waits if filled_at <= each.at_s < done_at],
        heavy_s=done_at - filled_at,
        heavy_runs=group.runs() - len(waits),
    )


def read_waits(ground: Ground, org_id: OrgId) -> list[Wait]:
    """Read how long an organization's executions waited, in the order of their asking."""
    with ground.connect() as connection:
        return [Wait(*row) for row in connection.execute(_WAITS, [org_id]).fetchall()]


def _one(connection: psycopg.Connection[Any], statement: str, value: object) -> int:
    row = connection.execute(statement.encode(), [value]).fetchone()
    if row is None:
        raise RuntimeError("an aggregate always has one row")
    return int(row[0])
