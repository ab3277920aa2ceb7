"""Everything is killed and cut off under load; afterwards every row says what happened, once."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from deployments.drift_report import check_drift
from deployments.embedded.specs import PREFECT
from domain.drift import Drift
from domain.errors import ErrorCode
from domain.executions import ExecutionNotFound
from domain.ids import ExecutionId, OrgId
from domain.waiting import find_blockers
from persistence.waiting import find_place, see_workers
from tests.chaos.agents import read_effects
from tests.chaos.checks import count_repeated, find_problems
from tests.chaos.client import Client
from tests.chaos.clock import Clock
from tests.chaos.evidence import (
    Evidence,
    count_unfinished_tasks,
    find_broken_chains,
    list_unfinished_in_prefect,
    read_agent_runs,
    read_audit,
    read_counters,
    read_events,
    read_executions,
    read_open_runs,
)
from tests.chaos.ground import Ground, open_ground
from tests.chaos.load import Wish, make_load
from tests.chaos.plan import Fault, FaultKind, describe_plan, make_plan

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

LENGTH_S = 60.0
# From the last fault to the last end, and on to both sides at rest: to find what hangs.
SETTLE_S = 210.0
REST_S = 80.0
# So long, in all, faults and load wait for a Prefect that starts.
STANDING_S = 80.0
SHOWN = 30


def test_every_execution_ends_once_whatever_is_killed_or_cut_off(seed: int, tmp_path: Path):
    plan = make_plan(seed, length_s=LENGTH_S)
    load = make_load(seed, length_s=LENGTH_S)
    sys.stdout.write(f"{describe_plan(seed, plan)}\n")
    with open_ground() as ground:
        try:
            client = Client(ground.api_url, ground.tokens)
            times = [time.monotonic()]
            done = asyncio.run(send_among_faults(ground, client, plan, load))
            times.append(time.monotonic())
            wait_until_ended(ground)
            times.append(time.monotonic())
            drift = wait_for_rest(ground)
            times.append(time.monotonic())
            evidence = gather(ground, client, drift)
            hits = ground.proxy.count_hits()
        finally:
            ground.keep_logs(tmp_path / "logs")
    spans = [after - before for before, after in pairwise(times)]
    sys.stdout.write(
        f"seed {seed}: {summarize(evidence, plan, spans, client)} "
        f"{done} kills met a process, and network faults {hits} connections and messages.\n"
    )
    planned = sum(fault.kind is FaultKind.KILL for fault in plan)
    problems = [*client.refusals, *find_problems(evidence)]
    if 2 * done < planned or not hits:
        # Nothing is shown by a run in which hardly anything happened.
        problems.append(f"{done} of {planned} kills met a process, network faults {hits}")
    assert not problems, report(seed, plan, problems, tmp_path)


async def send_among_faults(
    ground: Ground, client: Client, plan: Sequence[Fault], load: Sequence[Wish]
) -> int:
    """Send the load while the plan is carried out; return how many kills met a process."""
    clock = Clock(lambda: ground.is_ready(PREFECT), away_s=8.0, patience_s=STANDING_S)
    kills = 0

    async def meet(fault: Fault) -> None:
        nonlocal kills
        if fault.server is None:
            kills += await asyncio.to_thread(ground.kill, fault.service)
            return
        place = (fault.service, fault.server)
        await asyncio.to_thread(ground.proxy.begin, *place, fault.kind, delay_s=fault.delay_s)
        if fault.kind is not FaultKind.RESET:
            await asyncio.sleep(fault.for_s)
            await asyncio.to_thread(ground.proxy.end, *place)

    async def meet_all() -> None:
        async with asyncio.TaskGroup() as group:
            for fault in plan:
                await clock.wait_until(fault.at_s)
                group.create_task(meet(fault))

    ticking = asyncio.create_task(clock.run())
    try:
        await asyncio.gather(client.send_all(load, clock), meet_all())
    finally:
        ticking.cancel()
    # A service that its keeper gave up is told to try again, as its operator would.
    await asyncio.to_thread(ground.stack.ensure)
    await asyncio.to_thread(ground.stack.wait_ready)
    return kills


def wait_until_ended(ground: Ground) -> None:
    deadline = time.monotonic() + SETTLE_S
    while left := list_unfinished(ground):
        if time.monotonic() > deadline:
            told = [explain(ground, OrgId(org_id), ExecutionId(id)) for org_id, id in left[:SHOWN]]
            pytest.fail("\n".join([f"{len(left)} executions did not end:", *told]))
        time.sleep(1)


def list_unfinished(ground: Ground) -> list[tuple[str, str]]:
    query = "select org_id, id from executions where completed_at is null order by id"
    with ground.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(query).fetchall()]


def explain(ground: Ground, org_id: OrgId, id: ExecutionId) -> str:
    """Say what keeps an execution, as its owner is told, and how its row and run stand."""
    try:
        with ground.database.for_platform() as session:
            seen = see_workers(session)
        with ground.database.org(org_id, snapshot=True) as session:
            blockers = find_blockers(find_place(session, id, seen))
    except ExecutionNotFound as error:
        return error.message
    with ground.connect() as connection:
        row = connection.execute(
            """
            select e.status, e.attempt, e.cancel_requested_at, e.deadline, r.id, r.worker,
                r.lease_expires_at, r.prefect_flow_run_id, r.prefect_state_type, r.closed_at
            from executions e left join runs r on r.id = e.run_id where e.id = %s
            """,
            (id,),
        ).fetchone()
    return f"  {id}: {' '.join(each.message for each in blockers)} {row}"


def wait_for_rest(ground: Ground) -> list[Drift]:
    """Wait until the steward has put everything right; return the drift that is left."""
    deadline = time.monotonic() + REST_S
    url = ground.settings.prefect_api_url or ""
    while True:
        left = list(check_drift(ground.database, url, repair=False, max_attempts=1, last=0).left)
        with ground.connect() as connection:
            is_open = bool(read_open_runs(connection))
        is_open = is_open or bool(list_unfinished_in_prefect(url) or count_unfinished_tasks(url))
        if not (left or is_open) or time.monotonic() > deadline:
            return left
        time.sleep(2)


def gather(ground: Ground, client: Client, drift: Sequence[Drift]) -> Evidence:
    connection: psycopg.Connection
    with ground.connect() as connection:
        return Evidence(
            executions=read_executions(connection),
            audit=read_audit(connection),
            events=read_events(connection),
            agent_runs=read_agent_runs(connection),
            counters=read_counters(connection),
            broken_chains=find_broken_chains(ground.database),
            open_runs=read_open_runs(connection),
            unfinished_in_prefect=list_unfinished_in_prefect(ground.settings.prefect_api_url or ""),
            unfinished_tasks=count_unfinished_tasks(ground.settings.prefect_api_url or ""),
            drift=[str(each) for each in drift],
            effects=read_effects(ground.folder),
            answers=client.answers,
            max_attempts=ground.settings.max_attempts,
        )


def summarize(
    evidence: Evidence, plan: Sequence[Fault], spans: Sequence[float], client: Client
) -> str:
    executions = evidence.executions
    statuses = Counter(each.status for each in executions)
    lost = sum(each.error_code == ErrorCode.EXECUTION_LOST.value for each in executions)
    return (
        f"{len(executions)} executions {dict(statuses)}, "
        f"{sum(not answer.is_accepted for answer in evidence.answers)} batches unanswered, "
        f"{len(plan)} faults in {spans[0]:.0f} s, "
        f"all ended {spans[1]:.0f} s and at rest {spans[2]:.0f} s later; "
        f"{sum(each.attempt - 1 for each in executions)} times given back, "
        f"most attempts {max(each.attempt for each in executions)}, {lost} lost; "
        f"{len(evidence.effects)} effects, {count_repeated(evidence.effects)} repeated; "
        f"the client met {dict(client.troubles)};"
    )


def report(seed: int, plan: Sequence[Fault], problems: Sequence[str], folder: Path) -> str:
    shown = [f"  {problem}" for problem in problems[:SHOWN]]
    return "\n".join(
        [
            f"{len(problems)} problems:",
            *shown,
            describe_plan(seed, plan),
            f"Logs are in {folder}. Again: CHAOS_SEED={seed} make test-chaos",
        ]
    )
