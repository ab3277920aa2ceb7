"""The contenders' turns: how each one is prepared, and what is measured of it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import cast

from deployments.bench.coalesced import measure_coalesced
from deployments.bench.contenders import Contender
from deployments.bench.figures import (
    BARE,
    COALESCED,
    DBOS,
    MIRROR,
    SINGLE,
    Line,
    Measured,
)
from deployments.bench.ground import Ground
from deployments.bench.single import measure_single
from deployments.bench.tenants import Tenant, make_token
from domain.json_data import JsonObject

DBOS_MISSING = "DBOS is not installed: uv sync --group bench"
_BARE_AT_ONCE, _DBOS_AT_ONCE = (1, 8), (1, 8, 32)
_WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and for how long."""

    only: frozenset[str]
    rounds: int = 3
    seconds: float = 8.0
    """How long a contender starts new work, in each round."""
    executions: int = 20_000
    """Coalesced: how many, in each round."""
    orgs: int = 10
    limit_s: float = 120.0
    """Coalesced: when a round is cut off."""
    single_at_once: tuple[int, ...] = (1, 8)
    mirror_sizes: tuple[int, ...] = (1, 100, 1000)
    process_worker_runs: int = 3
    """How many runs of Prefect's process worker are measured, after the rounds."""


@dataclass(slots=True)
class Turn:
    """One line of the table as it grows."""

    contender: str
    at_once: int | None
    measure: Callable[[], Measured]
    rounds_left: int
    rounds: list[Measured] = field(default_factory=list[Measured])

    @property
    def line(self) -> Line:
        """What came out so far."""
        return Line(self.contender, self.at_once, self.rounds)


def make_turns(
    plan: Plan,
    ground: Ground,
    tenants: Sequence[Tenant],
    stack: ExitStack,
    facts: JsonObject,
) -> list[Turn]:
    """Start the contenders' processes, get them warm, and list their turns of one round.

    Raises:
        BenchFailed: one of them does not start.
    """
    turns: list[Turn] = []
    if BARE in plan.only:
        bare = _start(ground, stack, BARE, {}, facts)
        turns += [
            Turn(BARE, number, _asking(bare, plan, number), plan.rounds) for number in _BARE_AT_ONCE
        ]
    if DBOS in plan.only and has_dbos():
        url = ground.make_database("bench_dbos").render_as_string(hide_password=False)
        dbos = _start(ground, stack, DBOS, {"database_url": url}, facts)
        turns += [
            Turn(DBOS, number, _asking(dbos, plan, number), plan.rounds) for number in _DBOS_AT_ONCE
        ]
    if SINGLE in plan.only:
        token = make_token(ground.database, tenants[0])
        measure_single(ground, tenants[0], token, at_once=1, seconds=_WARM_UP_S)
        turns += [
            Turn(SINGLE, number, _posting(plan, ground, tenants[0], token, number), plan.rounds)
            for number in plan.single_at_once
        ]
    if COALESCED in plan.only:
        turns.append(Turn(COALESCED, None, _coalescing(plan, ground, tenants), plan.rounds))
    if MIRROR in plan.only:
        mirror = _start(ground, stack, MIRROR, mirror_setup(ground), facts)
        turns += [
            Turn(MIRROR, size, _mirroring(mirror, plan, size), plan.rounds)
            for size in plan.mirror_sizes
        ]
    return turns


def has_dbos() -> bool:
    """Say whether DBOS is installed."""
    return find_spec("dbos") is not None


def mirror_setup(ground: Ground) -> JsonObject:
    """Make what the mirror's process needs to start."""
    url = ground.make_database("bench_mirror").render_as_string(hide_password=False)
    return {"database_url": url, "audit_key": ground.database.audit_key.decode()}


def _start(
    ground: Ground, stack: ExitStack, name: str, setup: JsonObject, facts: JsonObject
) -> Contender:
    module = f"deployments.bench.{name}_contender"
    contender = stack.enter_context(ground.contender(module, setup))
    ground.others[name] = contender.pid
    said = contender.prepare()
    if said:
        facts[name] = said
    return contender


def _asking(contender: Contender, plan: Plan, at_once: int) -> Callable[[], Measured]:
    def measure() -> Measured:
        return _read(contender.ask({"at_once": at_once, "seconds": plan.seconds}))

    return measure


def _posting(
    plan: Plan, ground: Ground, tenant: Tenant, token: str, at_once: int
) -> Callable[[], Measured]:
    def measure() -> Measured:
        return measure_single(ground, tenant, token, at_once=at_once, seconds=plan.seconds)

    return measure


def _coalescing(plan: Plan, ground: Ground, tenants: Sequence[Tenant]) -> Callable[[], Measured]:
    def measure() -> Measured:
        return measure_coalesced(ground, tenants, executions=plan.executions, limit_s=plan.limit_s)

    return measure


def _mirroring(contender: Contender, plan: Plan, size: int) -> Callable[[], Measured]:
    def measure() -> Measured:
        return _read(contender.ask({"size": size, "seconds": plan.seconds / 2}))

    return measure


def _read(answer: JsonObject) -> Measured:
    latencies = cast("list[float]", answer.get("latencies_ms", []))
    stages = cast("dict[str, float]", answer.get("stages_ms", {}))
    return Measured(
        count=int(str(answer["count"])),
        elapsed_s=float(str(answer["elapsed_s"])),
        latencies_ms=tuple(latencies),
        stages_ms={name: (each,) for name, each in stages.items()},
    )
