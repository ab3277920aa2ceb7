"""Bugs of other schedulers, as promises of this one: limits, slots and ticks.

The numbers are those of the list of such bugs that the project keeps.
"""

import os
import signal
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text

from deployments.embedded.layout import Home
from deployments.embedded.state import read_state
from domain.catalog import Workflow
from domain.clock import utc_now
from domain.executions import Execution, ExecutionStatus
from domain.ids import ExecutionId
from domain.limits import OrgLimits, WorkflowLimits
from persistence.execution_batches import add_batch
from persistence.execution_cancel import request_cancel
from persistence.execution_targets import ExecutionWish
from persistence.executions import get_execution
from persistence.limits import set_org_limits, set_workflow_limits
from persistence.schedules import add_schedule
from persistence.sessions import Database
from persistence.steward_status import read_status
from persistence.workflows import get_workflow
from tests.acceptance.conftest import Tell
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, queue, save_workflow
from tests.support.outages import Stopwatch
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final
from tests.support.timelines import most_at_a_time

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.prefect,
    pytest.mark.timeout(400),
]
COMPLETED, RUNNING = ExecutionStatus.COMPLETED, ExecutionStatus.RUNNING
CANCELLED, PAUSED = ExecutionStatus.CANCELLED, ExecutionStatus.PAUSED


def probe(database: Database, name: str, *, sleep_s: float = 0, steps: int = 1) -> Workflow:
    step = {"type": "probe", "config": {"sleep_s": sleep_s}, "options": {"timeout_s": 900}}
    return save_workflow(database, ACME, chain(name, *[step] * steps))


def limit_org(database: Database, most: int) -> None:
    limits = OrgLimits(weight=1, max_running=most, max_queued=None, is_paused=False)
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, limits)


def limit_workflow(database: Database, workflow: Workflow, most: int) -> None:
    limits = WorkflowLimits(max_running=most, max_batch=None, is_paused=False)
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, limits)


def add_many(database: Database, workflow: Workflow, count: int) -> list[ExecutionId]:
    inputs = [{"number": number} for number in range(count)]
    with database.org(ACME, user_id=ADMIN) as session:
        wish = ExecutionWish(workflow=workflow.id, labels={})
        return add_batch(session, wish, inputs, batch_id="batch_ask")


def read(database: Database, id: ExecutionId) -> Execution:
    with database.org(ACME) as session:
        return get_execution(session, id)


def is_running(database: Database, id: ExecutionId) -> bool:
    return read(database, id).status is RUNNING


def cancel(database: Database, id: ExecutionId) -> None:
    with database.org(ACME, user_id=ADMIN) as session:
        request_cancel(session, id)


def test_ask_1_what_a_lost_worker_leaves_is_started_again_within_every_limit(
    services: Services, database: Database
):
    """Number 1, restart: executions that go back to the queue count like any others."""
    one, other = (probe(database, name, sleep_s=3) for name in ("One", "Other"))
    limit_org(database, 3)
    limit_workflow(database, one, 2)
    ids = add_many(database, one, 5) + add_many(database, other, 3)
    services.steward()
    worker = services.worker()
    wait_for("work under way", lambda: is_running(database, ids[0]), timeout_s=100)
    worker.kill()
    worker.wait()
    # Two of them, who claim at the same time what comes back.
    services.worker()
    services.worker()
    executions = wait_until_final(database, ACME, ids, timeout_s=200)
    assert {e.status for e in executions} == {COMPLETED}
    # Lost together: none of them loses an attempt.
    assert {e.attempt for e in executions} == {1}
    assert most_at_a_time(database, ACME) == 3
    assert most_at_a_time(database, ACME, workflow_id=one.id) == 2


def test_ask_1_a_run_that_is_resumed_stays_within_the_limit(services: Services, database: Database):
    """Number 1, resume: a suspended run keeps its place, so nobody else has it meanwhile."""
    workflow = probe(database, "Resumed", sleep_s=5, steps=2)
    limit_workflow(database, workflow, 1)
    first, second = (queue(database, ACME, workflow).id for _ in range(2))
    services.steward()
    services.worker()
    wait_for("the first one", lambda: is_running(database, first), timeout_s=100)
    api = PrefectApi(services.stack.prefect_api_url)
    flow_run_id = str(read(database, first).prefect_flow_run_id)
    api.suspend(flow_run_id)
    wait_for("it paused", lambda: read(database, first).status is PAUSED)
    time.sleep(5)  # in which the second one would start
    assert read(database, second).run_id is None
    api.resume(flow_run_id)
    executions = wait_until_final(database, ACME, [first, second])
    assert {(e.status, e.attempt) for e in executions} == {(COMPLETED, 1)}
    assert most_at_a_time(database, ACME, workflow_id=workflow.id) == 1


def test_ask_1_what_is_final_is_not_started_again_by_prefects_retry_button(
    services: Services, database: Database
):
    """Number 1, restart in Prefect: it would pass by the queue, and is refused."""
    workflow = probe(database, "Final")
    id = queue(database, ACME, workflow).id
    services.steward()
    services.worker()
    (done,) = wait_until_final(database, ACME, [id])
    api = PrefectApi(services.stack.prefect_api_url)
    flow_run_id = str(done.prefect_flow_run_id)
    api.set_state(flow_run_id, "SCHEDULED", name="AwaitingRetry")
    api.set_state(flow_run_id, "SCHEDULED", name="AwaitingRetry")
    wait_for("it as it was", lambda: api.flow_run(flow_run_id)["state"]["type"] == "COMPLETED")
    with database.org(ACME) as session:
        assert session.scalar(text("select count(*) from agent_runs")) == 1
        assert get_workflow(session, workflow.id).execution_count == 1


def test_ask_1_a_run_that_prefect_made_waits_when_the_limit_is_reached(
    services: Services, database: Database
):
    """Number 1, the Run button and schedules: what they start counts, and waits like the rest."""
    definition = chain("Pressed", {"type": "probe", "config": {"sleep_s": 6}})
    definition = definition.model_copy(update={"default_input": "x"})
    workflow = save_workflow(database, ACME, definition)
    limit_workflow(database, workflow, 1)
    services.steward()
    services.worker()
    first = queue(database, ACME, workflow).id
    wait_for("the limit reached", lambda: is_running(database, first), timeout_s=100)
    api = PrefectApi(services.stack.prefect_api_url)
    deployment = api.deployment("acme.pressed", "live")
    pressed = [api.run_deployment(deployment["id"])["id"] for _ in range(2)]

    def all_done() -> bool:
        with database.org(ACME) as session:
            return get_workflow(session, workflow.id).success_count == 3

    wait_for("all three completed", all_done, timeout_s=120)
    assert most_at_a_time(database, ACME, workflow_id=workflow.id) == 1
    assert {api.flow_run(id)["state"]["type"] for id in pressed} == {"COMPLETED"}


def test_ask_2_workers_that_start_together_on_a_full_queue_admit_no_more_than_the_limit(
    services: Services, database: Database
):
    """Number 2: a cold start of the dispatcher does not over-admit."""
    workflow = probe(database, "Cold", sleep_s=1)
    limit_org(database, 5)
    ids = add_many(database, workflow, 40)
    services.steward()
    for _ in range(3):
        services.worker()
    executions = wait_until_final(database, ACME, ids, timeout_s=240)
    assert {(e.status, e.attempt) for e in executions} == {(COMPLETED, 1)}
    assert most_at_a_time(database, ACME) == 5


def test_ask_3_a_worker_killed_between_claim_and_start_frees_its_slot(
    services: Services, database: Database, tell: Tell
):
    """Number 3: within seconds, of the workflow's limit and of the organization's."""
    services.environ["TENANTRY_LEASE_S"] = services.environ["TENANTRY_RECONCILE_INTERVAL_S"] = ""
    workflow = probe(database, "Slot")
    limit_org(database, 1)
    limit_workflow(database, workflow, 1)
    services.steward()
    worker = services.worker()
    wait_until_final(database, ACME, [queue(database, ACME, workflow).id])
    state = read_state(Home(services.stack.settings.home).state_file)
    prefect = state.services["prefect"].pid
    assert prefect is not None
    # Prefect keeps the worker waiting for the flow run that it asks for.
    os.kill(prefect, signal.SIGSTOP)
    try:
        claimed, waiting = (queue(database, ACME, workflow).id for _ in range(2))
        wait_for("the claim", lambda: read(database, claimed).run_id)
        worker.kill()
        worker.wait()
        clock = Stopwatch()
    finally:
        os.kill(prefect, signal.SIGCONT)
    assert read(database, claimed).started_at is None
    services.worker()

    def slot_is_free() -> bool:
        run_id = read(database, claimed).run_id
        return run_id is None or is_running(database, waiting)

    wait_for("the slot free", slot_is_free)
    tell("seconds from kill -9 until the slot was free", clock.seconds)
    executions = wait_until_final(database, ACME, [claimed, waiting])
    tell("seconds from kill -9 until both had completed", clock.seconds)
    assert [(e.status, e.attempt) for e in executions] == [(COMPLETED, 1), (COMPLETED, 1)]
    assert most_at_a_time(database, ACME) == 1


def test_ask_4_cancelling_frees_the_slot(services: Services, database: Database, tell: Tell):
    """Number 4: whoever waits behind a limit starts when one that runs is cancelled."""
    long, quick = probe(database, "Long", sleep_s=600), probe(database, "Quick")
    limit_org(database, 1)
    services.steward()
    services.worker()
    first = queue(database, ACME, long).id
    wait_for("the first one", lambda: is_running(database, first), timeout_s=100)
    second = queue(database, ACME, quick).id
    time.sleep(2)
    assert read(database, second).run_id is None
    cancel(database, first)
    clock = Stopwatch()
    executions = wait_until_final(database, ACME, [first, second], timeout_s=60)
    tell("seconds from the cancellation until the next one had completed", clock.seconds)
    assert [e.status for e in executions] == [CANCELLED, COMPLETED]
    assert most_at_a_time(database, ACME) == 1


def test_ask_5_two_stewards_and_two_workers_fire_one_run_a_tick(
    services: Services, database: Database
):
    """Number 5: also when the leading steward is frozen, and comes back beside its successor."""
    workflow = probe(database, "Ticks")
    with database.org(ACME, user_id=ADMIN) as session:
        add_schedule(session, workflow.id, cron="* * * * *", timezone="UTC", input_data={"n": 1})
    stewards = {str(each.pid): each for each in (services.steward(), services.steward())}
    for _ in range(2):
        services.worker()

    def leader() -> str | None:
        with database.for_platform() as session:
            name = read_status(session).leader
        return name.split()[-1] if name else None

    def count() -> int:
        with database.org(ACME) as session:
            return get_workflow(session, workflow.id).success_count

    began = utc_now()
    first = wait_for("a leader", leader)
    wait_for("the first tick", lambda: count() >= 1, timeout_s=120)
    os.kill(stewards[first].pid, signal.SIGSTOP)
    try:
        wait_for("another leader", lambda: leader() != first, timeout_s=60)
    finally:
        os.kill(stewards[first].pid, signal.SIGCONT)
    wait_for("two more ticks", lambda: count() >= 3, timeout_s=200)
    with database.org(ACME) as session:
        created = session.scalars(text("select created_at from executions")).all()
    ticks = sorted(at.replace(second=0, microsecond=0) for at in created)
    assert len(set(ticks)) == len(ticks)
    assert {b - a for a, b in pairwise(ticks)} == {timedelta(minutes=1)}
    assert ticks[0] > began - timedelta(minutes=1)


def test_ask_12_a_crashed_run_that_was_being_cancelled_ends_as_cancelled(
    services: Services, database: Database
):
    """Number 12: whoever asked for it, and whichever side heard of it first; never FAILED."""
    services.environ["TENANTRY_MAX_BATCH"] = "1"
    long = probe(database, "Long", sleep_s=600)
    here, there = (queue(database, ACME, long).id for _ in range(2))
    services.steward()
    worker = services.worker()
    both = (here, there)
    wait_for("both running", lambda: all(is_running(database, id) for id in both), timeout_s=100)
    flow_runs = [str(read(database, id).prefect_flow_run_id) for id in both]
    os.kill(worker.pid, signal.SIGSTOP)
    cancel(database, here)
    api = PrefectApi(services.stack.prefect_api_url)
    api.set_state(flow_runs[1], "CANCELLING")
    worker.kill()
    worker.wait()
    executions = wait_until_final(database, ACME, list(both), timeout_s=60)
    assert [e.status for e in executions] == [CANCELLED, CANCELLED]
    wait_for(
        "the same in Prefect",
        lambda: {api.flow_run(id)["state"]["type"] for id in flow_runs} == {"CANCELLED"},
    )
    with database.org(ACME) as session:
        found = get_workflow(session, long.id)
    assert (found.execution_count, found.cancelled_count, found.failure_count) == (2, 2, 0)
