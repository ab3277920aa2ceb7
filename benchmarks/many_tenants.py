"""What a claim costs with many tenants: 10,000 organizations, 50,000 lines, 800 open runs.

    .venv/bin/python -m benchmarks.many_tenants [--orgs 10000] [--claims 60] [--json]

A real PostgreSQL; claimers are processes of their own (for fifty: threads of two processes). Each
claims 16 runs again and again; between two claims, outside of what is timed, its runs are ended.
Reported are the time of a claim, how long its first lock was held until the commit, the lock of the
queue's clock, executions claimed a second, errors, how equally the claimers and the organizations
were served (Jain's index), and how a claim grows from 100 organizations to all. Exit code 1: a goal
was missed.
"""

import argparse
import json
import multiprocessing
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import event, make_url

from benchmarks.many_tenants_rows import LINES_EACH, Shape, fill
from benchmarks.shares import percentile
from deployments.bench.ground import Ground, open_ground
from domain.errors import TenantryError
from domain.queue_shares import Rules, jain_index
from domain.runs import ClaimedRun
from persistence.queue import Claimant, claim_runs, note_worker
from persistence.sessions import Database, open_database

CLAIM_GOAL_MS = 150.0
HELD_P99_GOAL_MS = 100.0
HELD_GOAL_MS = 500.0
RUNS = 16
_RULES = Rules(opening_s=0.25, is_in_step=True)
_END = """
update executions set status = 'CANCELLED', completed_at = clock_timestamp(),
    started_at = null where run_id = any(%s)
"""
_CLOSE = "update runs set closed_at = clock_timestamp() where id = any(%s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process of claimers is to do."""

    app_url: str
    platform_url: str
    superuser_url: str
    name: str
    threads: int
    claims: int
    all_runs: int


@dataclass(slots=True)
class Found:
    """What claimers saw."""

    claim_ms: list[float] = field(default_factory=list[float])
    held_ms: list[float] = field(default_factory=list[float])
    clock_ms: list[float] = field(default_factory=list[float])
    executions: list[int] = field(default_factory=list[int])
    by_org: Counter[str] = field(default_factory=Counter[str])
    by_claimer: list[int] = field(default_factory=list[int])
    empty: int = 0
    errors: list[str] = field(default_factory=list[str])


class _Held:
    """Times, by thread, from a transaction's first lock to its commit."""

    def __init__(self, database: Database) -> None:
        self._local = threading.local()
        event.listen(database.platform, "after_cursor_execute", self._executed)

    def begin(self) -> None:
        self._local.first = self._local.clock = None

    def read(self) -> tuple[float | None, float | None]:
        """Say when the first lock, and that of the queue's clock, were held from."""
        return self._local.first, self._local.clock

    def _executed(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        now = time.perf_counter()
        if "for no key update" in statement and self._local.first is None:
            self._local.first = now
        if statement.startswith("update queue_clock"):
            self._local.clock = now


def claim_often(job: Job) -> Found:
    """Claim again and again, in as many threads as are asked for; runs in a process of its own."""
    database = open_database(
        app_url=make_url(job.app_url),
        platform_url=make_url(job.platform_url),
        audit_key=b"x" * 32,
        pool_size=max(2, job.threads),
    )
    held = _Held(database)
    found = Found()
    lock = threading.Lock()

    def claimer(number: int) -> None:
        name = f"{job.name}-{number}"
        with psycopg.connect(job.superuser_url, autocommit=True) as connection:
            with database.for_platform() as session:
                note_worker(session, name, slots=RUNS, life_s=600)
            count = sum(
                _claim_once(database, held, name, connection, found, lock)
                for _ in range(job.claims)
            )
        with lock:
            found.by_claimer.append(count)

    with ThreadPoolExecutor(job.threads) as pool:
        list(pool.map(claimer, range(job.threads)))
    database.close()
    return found


def _claim_once(
    database: Database,
    held: _Held,
    name: str,
    connection: psycopg.Connection[Any],
    found: Found,
    lock: threading.Lock,
) -> int:
    claimant = Claimant(
        name=name, lease_s=600, runs=RUNS, free_runs=RUNS, free_executions=2 * 1_000
    )
    held.begin()
    began = time.perf_counter()
    try:
        with database.for_platform() as session:
            claimed = claim_runs(session, claimant, rules=_RULES)
    except TenantryError as error:
        with lock:
            found.errors.append(f"{error.code.value}: {error.__cause__}")
        return 0
    ended = time.perf_counter()
    first, clock = held.read()
    taken = sum(len(run.execution_ids) for run in claimed)
    with lock:
        found.claim_ms.append((ended - began) * 1000)
        found.executions.append(taken)
        found.empty += not claimed
        if first is not None:
            found.held_ms.append((ended - first) * 1000)
        if clock is not None:
            found.clock_ms.append((ended - clock) * 1000)
        for run in claimed:
            found.by_org[run.run.org_id] += len(run.execution_ids)
    _end(connection, claimed)
    return taken


def _end(connection: psycopg.Connection[Any], claimed: Sequence[ClaimedRun]) -> None:
    ids = [each.run.id for each in claimed]
    with connection.transaction():
        connection.execute(_CLOSE, [ids])
        connection.execute(_END, [ids])


@dataclass(slots=True)
class Result:
    """One measurement, as it is shown."""

    name: str
    orgs: int
    claimers: int
    figures: dict[str, Any]


def measure(ground: Ground, shape: Shape, *, claimers: int, claims: int) -> Result:
    """Fill the queue, and have some claimers claim at once."""
    with ground.connect() as connection:
        waiting = fill(connection, shape)
        url = connection.info
        superuser = (
            f"host={url.host} port={url.port} dbname={url.dbname} user={url.user}"
            f" password={url.password}"
        )
        # As after days of work: somewhere on the clock, everybody near everybody else.
        connection.execute("update queue_heads set clock = 1000 + 50 * random()")
        connection.execute("update queue_clock set time = 1000")
        connection.execute("delete from workers")
    processes = claimers if claimers <= 4 else 2
    jobs = [
        Job(
            app_url=ground.database.app.url.render_as_string(hide_password=False),
            platform_url=ground.database.platform.url.render_as_string(hide_password=False),
            superuser_url=superuser,
            name=f"claimer-{number}",
            threads=claimers // processes,
            claims=claims,
            all_runs=RUNS * claimers,
        )
        for number in range(processes)
    ]
    began = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(claim_often, jobs))
    seconds = time.perf_counter() - began
    return Result(
        f"{shape.orgs:,} organizations, {shape.orgs * LINES_EACH:,} lines, {claimers} claimers",
        shape.orgs,
        claimers,
        {"waiting": waiting, "seconds": round(seconds, 1), **_figures(found)},
    )


def _figures(found: Sequence[Found]) -> dict[str, Any]:
    def points(values: list[float]) -> list[float]:
        if not values:
            return []
        return [round(percentile(values, part), 1) for part in (0.5, 0.95, 0.99, 1.0)]

    claims = [ms for each in found for ms in each.claim_ms]
    served = sum((each.by_org for each in found), Counter[str]())
    by_claimer = [count for each in found for count in each.by_claimer]
    executions = [count for each in found for count in each.executions]
    return {
        "claims": len(claims),
        "claim_ms": points(claims),
        "held_ms": points([ms for each in found for ms in each.held_ms]),
        "clock_ms": points([ms for each in found for ms in each.clock_ms]),
        "executions": sum(executions),
        "executions_a_claim_max": max(executions, default=0),
        "executions_per_claim_second": round(sum(executions) / max(1e-9, sum(claims) / 1000)),
        "organizations": len(served),
        "jain_claimers": round(jain_index(by_claimer), 4),
        "empty": sum(each.empty for each in found),
        "errors": [error for each in found for error in each.errors],
    }


def find_missed(result: Result) -> list[str]:
    """Say which goals a measurement missed."""
    figures = result.figures
    missed = [f"{len(figures['errors'])} errors"] if figures["errors"] else []
    if result.claimers <= 4 and figures["claim_ms"][1] > CLAIM_GOAL_MS:
        missed.append(f"p95 of a claim is {figures['claim_ms'][1]} ms, not {CLAIM_GOAL_MS}")
    if result.claimers <= 4 and figures["held_ms"][2] > HELD_P99_GOAL_MS:
        missed.append(f"p99 of the lock is {figures['held_ms'][2]} ms, not {HELD_P99_GOAL_MS}")
    if result.claimers <= 4 and figures["held_ms"][3] > HELD_GOAL_MS:
        missed.append(f"a lock was held for {figures['held_ms'][3]} ms")
    if figures["jain_claimers"] < 0.9:
        missed.append(f"claimers are served unequally: {figures['jain_claimers']}")
    return missed


def show(result: Result) -> str:
    """Lay one measurement out for people."""
    lines = [result.name]
    for name, value in result.figures.items():
        shown = " / ".join(map(str, value)) if isinstance(value, list) else f"{value:,}"
        lines.append(f"    {name:28} {shown}")
    lines += [f"    MISSED: {each}" for each in find_missed(result)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure growth and concurrency; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orgs", type=int, default=10_000)
    parser.add_argument("--claims", type=int, default=60)
    parser.add_argument("--claimers", default="1,4,50")
    parser.add_argument("--growth", default="100,1000", help="fewer organizations, one claimer")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    results: list[Result] = []
    growth = [int(each) for each in options.growth.split(",") if each]
    cases = [(orgs, 1) for orgs in growth]
    cases += [(options.orgs, int(each)) for each in options.claimers.split(",")]
    with open_ground(prefect=False, say=lambda text: None) as ground:
        for orgs, claimers in cases:
            shape = Shape(orgs=orgs, open_runs=min(800, orgs * 8 // 10), deep=min(200, orgs // 5))
            claims = options.claims if claimers <= 4 else max(4, options.claims // 10)
            results.append(measure(ground, shape, claimers=claimers, claims=claims))
            sys.stderr.write(show(results[-1]))
    if options.json:
        document = [{"case": r.name, **r.figures, "missed": find_missed(r)} for r in results]
        sys.stdout.write(json.dumps(document) + "\n")
    return 1 if any(find_missed(each) for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
