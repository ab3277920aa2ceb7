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
_WARM_UP_S, _WARM_UP_LIMIT_S = 2.0, 30.0


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


@dataclass(frozen=True, slots=True)
class Preparation:
    """What contenders are prepared with."""

    plan: Plan
    ground: Ground
    tenants: Sequence[Tenant]
    stack: ExitStack
    """Ends their processes."""
    facts: JsonObject
    """What they say of themselves, by contender."""


def prepare(contender: str, given: Preparation) -> list[Turn]:
    """Start a contender's process, get it warm, and list its turns of one round.

    Raises:
        BenchFailed: it does not start.
    """
    return _PREPARE[contender](given)


def _prepare_bare(given: Preparation) -> list[Turn]:
    bare = _start(given, BARE, {})
    return [_asking(given.plan, BARE, bare, number) for number in _BARE_AT_ONCE]


def _prepare_dbos(given: Preparation) -> list[Turn]:
    if not has_dbos():
        return []
    url = given.ground.make_database("bench_dbos").render_as_string(hide_password=False)
    dbos = _start(given, DBOS, {"database_url": url})
    return [_asking(given.plan, DBOS, dbos, number) for number in _DBOS_AT_ONCE]


def _prepare_single(given: Preparation) -> list[Turn]:
    plan, ground, tenant = given.plan, given.ground, given.tenants[0]
    token = make_token(ground.database, tenant)
    measure_single(ground, tenant, token, at_once=1, seconds=_WARM_UP_S)

    def turn(at_once: int) -> Turn:
        def measure() -> Measured:
            return measure_single(ground, tenant, token, at_once=at_once, seconds=plan.seconds)

        return Turn(SINGLE, at_once, measure, plan.rounds)

    return [turn(at_once) for at_once in plan.single_at_once]


def _prepare_coalesced(given: Preparation) -> list[Turn]:
    plan, ground, tenants = given.plan, given.ground, given.tenants
    measure_coalesced(ground, tenants, executions=len(tenants), limit_s=_WARM_UP_LIMIT_S)

    def measure() -> Measured:
        return measure_coalesced(ground, tenants, executions=plan.executions, limit_s=plan.limit_s)

    return [Turn(COALESCED, None, measure, plan.rounds)]


def _prepare_mirror(given: Preparation) -> list[Turn]:
    mirror = _start(given, MIRROR, mirror_setup(given.ground))

    def turn(size: int) -> Turn:
        def measure() -> Measured:
            return _read(mirror.ask({"size": size, "seconds": given.plan.seconds / 2}))

        return Turn(MIRROR, size, measure, given.plan.rounds)

    return [turn(size) for size in given.plan.mirror_sizes]


# In this order they have their turns.
_PREPARE = {
    BARE: _prepare_bare,
    DBOS: _prepare_dbos,
    SINGLE: _prepare_single,
    COALESCED: _prepare_coalesced,
    MIRROR: _prepare_mirror,
}
IN_TURNS = tuple(_PREPARE)


def has_dbos() -> bool:
    """Say whether DBOS is installed."""
    return find_spec("dbos") is not None


def mirror_setup(ground: Ground) -> JsonObject:
    """Make what the mirror's process needs to start."""
    url = ground.make_database("bench_mirror").render_as_string(hide_password=False)
    return {"database_url": url, "audit_key": ground.database.audit_key.decode()}


def _start(given: Preparation, name: str, setup: JsonObject) -> Contender:
    module = f"deployments.bench.{name}_contender"
    contender = given.stack.enter_context(given.ground.contender(module, setup))
    given.ground.others[name] = contender.pid
    said = contender.prepare()
    if said:
        given.facts[name] = said
    return contender


def _asking(plan: Plan, name: str, contender: Contender, at_once: int) -> Turn:
    def measure() -> Measured:
        return _read(contender.ask({"at_once": at_once, "seconds": plan.seconds}))

    return Turn(name, at_once, measure, plan.rounds)


def _read(answer: JsonObject) -> Measured:
    latencies = cast("list[float]", answer.get("latencies_ms", []))
    stages = cast("dict[str, float]", answer.get("stages_ms", {}))
    return Measured(
        count=int(str(answer["count"])),
        elapsed_s=float(str(answer["elapsed_s"])),
        latencies_ms=tuple(latencies),
        stages_ms={name: (each,) for name, each in stages.items()},
    )
