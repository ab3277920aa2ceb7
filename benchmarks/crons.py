"""Whether one Prefect server keeps up with many minute crons: its CPU, how late, and once each.

    .venv/bin/python -m benchmarks.crons [--workflows 500] [--orgs 10] [--ticks 3]
        [--warm-up 180] [--json]

PostgreSQL, Prefect's server, API, steward and a worker are processes of their own. Every workflow
has the three steps of `tenantry bench` and a schedule of `* * * * *`. The worker starts when all
are published, and has some minutes for what was due until then. After them so many full minutes are
watched, and what was due in them is waited for while the schedules go on. Lateness is from the
minute that a run was due to the time its execution was running. Exit code 1: a tick of the watched
minutes was missing, fired twice, was not carried out to its end, or did not start within a minute.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import make_url

from benchmarks.shares import percentile
from deployments.bench.agents import bench_definition
from deployments.bench.failures import BenchFailed
from deployments.bench.ground import Ground, open_ground
from deployments.bench.tenants import USER
from deployments.bench.usage import cpu_between
from deployments.embedded.specs import PREFECT
from domain.ids import OrgId
from domain.json_data import JsonObject
from persistence.organizations import ensure_member, ensure_organization
from persistence.schedules import add_schedule
from persistence.workflows import add_workflow

MINUTE_S = 60
KEEPS_UP_S = 60.0
_PUBLISH_LIMIT_S = 400.0
_UNPUBLISHED = "select count(*) from workflows where prefect_deployment_id is null"
# By Prefect's own account: what was due, of which deployment, and what became of it.
_DUE = """
select id::text, deployment_id::text, extract(epoch from expected_start_time)::bigint
from flow_run where auto_scheduled and expected_start_time >= to_timestamp(%s)
    and expected_start_time < to_timestamp(%s)
"""
_STARTED = """
select idempotency_key, extract(epoch from started_at)::float, status, run_id from executions
where trigger = 'schedule' and idempotency_key = any(%s)
"""
_NOT_DONE = """
select %s - count(*) from executions where idempotency_key = any(%s) and status = 'COMPLETED'
"""


@dataclass(frozen=True, slots=True)
class Minutes:
    """What was due in the minutes that were watched, and when each of it started."""

    due: Counter[tuple[str, int]]
    """How often, by deployment and tick."""
    late_s: dict[int, list[float]]
    """By tick, of those that started."""
    completed: int
    runs: int
    """Flow runs that carried them: late ones of a workflow go together."""
    expected: int
    ticks: Sequence[int]

    @property
    def repeated(self) -> int:
        """Ticks that fired more than once."""
        return sum(count > 1 for count in self.due.values())

    @property
    def missing(self) -> int:
        """Ticks that never fired."""
        return self.expected - len(self.due)


def prepare(ground: Ground, *, orgs: int, workflows: int) -> None:
    """Make organizations, their workflows, and a schedule for each."""
    definition = bench_definition()
    for number in range(orgs):
        org_id = OrgId(f"org_cron_{number}")
        with ground.database.for_platform() as session:
            ensure_organization(session, org_id, name=f"Cron {number}", slug=f"cron-{number}")
            ensure_member(session, org_id, USER, name="Bench", role="admin")
        with ground.database.org(org_id, user_id=USER) as session:
            for each in range(number, workflows, orgs):
                workflow = add_workflow(
                    session,
                    definition.as_json(),
                    name=f"{definition.name} {each}",
                    slug=f"cron-{each}",
                    description="",
                )
                add_schedule(
                    session,
                    workflow.id,
                    cron="* * * * *",
                    timezone="UTC",
                    input_data={"number": each, "text": "Find leads for software number"},
                )


def prefect_rows(ground: Ground) -> psycopg.Connection[Any]:
    """Look into Prefect's own tables."""
    url = make_url(ground.stack.prefect_database_url).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def wait_published(ground: Ground) -> float:
    """Wait until the steward has published everything; return how long it took.

    Raises:
        BenchFailed: it does not get there.
    """
    began = time.monotonic()
    with ground.connect() as connection:
        while _one(connection, _UNPUBLISHED):
            if time.monotonic() - began > _PUBLISH_LIMIT_S:
                raise BenchFailed("The steward did not publish the workflows to Prefect.")
            time.sleep(0.5)
    return time.monotonic() - began


def wait_done(ground: Ground, first: int, *, ticks: int, limit_s: float) -> float:
    """Wait until what was due in the minutes is done, or for so long; return the seconds."""
    began = time.monotonic()
    keys = [f"prefect:{flow_run}" for flow_run, _, _ in _read_due(ground, first, ticks)]
    with ground.connect() as connection:
        while time.monotonic() - began < limit_s:
            row = connection.execute(_NOT_DONE.encode(), [len(keys), keys]).fetchone()
            if row is not None and row[0] == 0:
                break
            time.sleep(1)
    return time.monotonic() - began


def watch(ground: Ground, *, ticks: int) -> tuple[int, dict[str, float], float]:
    """Let so many minutes pass, from the next full one on; return the first, CPU and seconds."""
    first = (int(time.time()) // MINUTE_S + 1) * MINUTE_S
    time.sleep(max(0.0, first - 1 - time.time()))
    before, began = ground.usage(), time.monotonic()
    time.sleep(max(0.0, first + ticks * MINUTE_S - 1 - time.time()))
    after, ended = ground.usage(), time.monotonic()
    return first, cpu_between(before, after), ended - began


def read_minutes(ground: Ground, *, first: int, ticks: int, workflows: int) -> Minutes:
    """Read what was due in the minutes and what became of it."""
    due = _read_due(ground, first, ticks)
    at = {f"prefect:{flow_run}": tick for flow_run, _, tick in due}
    with ground.connect() as connection:
        started = connection.execute(_STARTED, [list(at)]).fetchall()
    late: dict[int, list[float]] = {}
    for key, at_s, _, _ in started:
        if at_s is not None:
            late.setdefault(at[key], []).append(at_s - at[key])
    return Minutes(
        due=Counter((deployment, tick) for _, deployment, tick in due),
        late_s=late,
        completed=sum(status == "COMPLETED" for _, _, status, _ in started),
        runs=len({run_id for _, _, _, run_id in started if run_id}),
        expected=workflows * ticks,
        ticks=range(first, first + ticks * MINUTE_S, MINUTE_S),
    )


def _read_due(ground: Ground, first: int, ticks: int) -> list[tuple[str, str, int]]:
    with prefect_rows(ground) as connection:
        return connection.execute(_DUE, [first, first + ticks * MINUTE_S]).fetchall()


def report(
    minutes: Minutes, cpu_s: dict[str, float], elapsed_s: float
) -> tuple[JsonObject, list[str]]:
    """Sum up; the second part says what is not as it should be."""
    late = sorted(each for of_tick in minutes.late_s.values() for each in of_tick)
    cores = os.cpu_count() or 1
    shares = {name: used / elapsed_s for name, used in sorted(cpu_s.items())}
    found: JsonObject = {
        "due": minutes.expected,
        "missing": minutes.missing,
        "repeated": minutes.repeated,
        "started": len(late),
        "completed": minutes.completed,
        "in_flow_runs": minutes.runs,
        "late_p50_s": round(percentile(late, 0.5), 1) if late else None,
        "late_p95_s": round(percentile(late, 0.95), 1) if late else None,
        "late_max_s": round(late[-1], 1) if late else None,
        "late_p95_s_by_tick": [
            round(percentile(sorted(of_tick), 0.95), 1)
            for _, of_tick in sorted(minutes.late_s.items())
        ],
        "prefect_of_one_core": round(shares.get(PREFECT, 0.0), 3),
        "prefect_of_machine": round(shares.get(PREFECT, 0.0) / cores, 3),
        "cores_by_process": {name: round(share, 3) for name, share in shares.items()},
    }
    problems: list[str] = []
    if minutes.missing or minutes.repeated:
        problems.append(f"{minutes.missing} ticks are missing, {minutes.repeated} fired twice")
    if minutes.completed != minutes.expected:
        behind = minutes.expected - minutes.completed
        problems.append(f"{behind} of {minutes.expected} were not carried out")
    late_ones = minutes.expected - sum(each <= KEEPS_UP_S for each in late)
    if late_ones:
        problems.append(f"{late_ones} of {minutes.expected} did not start within a minute")
    return found, problems


def measure(ground: Ground, options: argparse.Namespace) -> tuple[JsonObject, list[str]]:
    """Take all figures."""
    prepare(ground, orgs=options.orgs, workflows=options.workflows)
    ground.start_services()
    _say("Publishing")
    took_s = wait_published(ground)
    with ground.working():
        _say(f"Published in {took_s:.0f} s; {options.warm_up:.0f} s to settle")
        time.sleep(options.warm_up)
        _say("Watching")
        first, cpu_s, elapsed_s = watch(ground, ticks=options.ticks)
        _say("Waiting for what was due meanwhile")
        rest_s = wait_done(ground, first, ticks=options.ticks, limit_s=options.limit)
        minutes = read_minutes(
            ground, first=first, ticks=options.ticks, workflows=options.workflows
        )
    found, problems = report(minutes, cpu_s, elapsed_s)
    figures: JsonObject = {"workflows": options.workflows, "publish_s": round(took_s), **found}
    return {**figures, "done_after_s": round(rest_s)}, problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Start everything, measure, and print what came out; 1 if it is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=500)
    parser.add_argument("--orgs", type=int, default=10)
    parser.add_argument("--ticks", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=180, help="seconds before the first tick")
    parser.add_argument("--limit", type=float, default=900, help="seconds for the rest, at most")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with open_ground(prefect=True, say=_say) as ground:
        found, problems = measure(ground, options)
    if options.json:
        sys.stdout.write(json.dumps({**found, "problems": [*problems]}) + "\n")
    else:
        lines = [f"{name:26} {value}" for name, value in found.items()]
        sys.stdout.write("\n".join([*lines, *(f"MISSED: {line}" for line in problems)]) + "\n")
    return 1 if problems else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _one(connection: psycopg.Connection[Any], statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    if row is None:
        raise RuntimeError("an aggregate always has one row")
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main())
