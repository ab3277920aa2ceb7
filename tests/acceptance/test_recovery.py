"""What is away comes back, and the work goes on by itself; how soon is printed (`pytest -rP`)."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from deployments.embedded.stack import EmbeddedStack
from domain.catalog import Workflow
from domain.clock import utc_now
from domain.executions import Execution, ExecutionStatus
from domain.ids import ExecutionId
from domain.limits import WorkflowLimits
from persistence.driver_errors import DatabaseUnreachable
from persistence.execution_batches import add_batch
from persistence.execution_targets import ExecutionWish
from persistence.limits import set_workflow_limits
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.acceptance.conftest import Tell
from tests.acceptance.test_crash import check_all_ended_once, check_prefect_is_left_tidy
from tests.support.api_process import api_process
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, queue, save_workflow
from tests.support.outages import Stopwatch, frozen, without
from tests.support.services import Services, wait_for, wait_until_final

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.prefect,
    pytest.mark.timeout(580),
]
OUTAGE_S = 60
Away = Callable[[EmbeddedStack, str], AbstractContextManager[None]]
both_ways = pytest.mark.parametrize("away", [without, frozen], ids=["killed", "frozen"])


@pytest.fixture
def as_shipped(services: Services) -> Services:
    """Services with the settings that they have when nobody sets any."""
    for name in ("TENANTRY_LEASE_S", "TENANTRY_RECONCILE_INTERVAL_S"):
        services.environ[name] = ""
    return services


def add_many(database: Database, workflow: Workflow, count: int) -> list[ExecutionId]:
    wish = ExecutionWish(workflow=workflow.id, labels={})
    inputs = [{"number": number} for number in range(count)]
    with database.org(ACME, user_id=ADMIN) as session:
        return add_batch(session, wish, inputs, batch_id="batch_recovery")


def set_batch(database: Database, workflow: Workflow, size: int) -> None:
    limits = WorkflowLimits(max_running=None, max_batch=size, is_paused=False)
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, limits)


def scalar(database: Database, statement: str) -> int | None:
    """Ask for one number of Acme's rows; `None` while the database is away."""
    try:
        with database.org(ACME) as session:
            return session.scalar(text(statement))
    except DatabaseUnreachable:
        return None


def test_five_hundred_executions_of_a_killed_worker_are_taken_up_by_a_new_one(
    as_shipped: Services, database: Database, tmp_path: Path, tell: Tell
):
    gate = tmp_path / "gate"
    step = {"type": "probe", "config": {"gate": str(gate)}, "options": {"timeout_s": 3600}}
    workflow = save_workflow(database, ACME, chain("Gated", step))
    set_batch(database, workflow, 50)
    as_shipped.steward()
    worker = as_shipped.worker()
    ids = add_many(database, workflow, 500)
    running = "select count(*) from executions e join runs r on r.id = e.run_id where "
    running += f"r.worker like '% {worker.pid}' and e.status = 'RUNNING'"
    wait_for("500 running", lambda: scalar(database, running) == 500, timeout_s=200)
    assert (scalar(database, "select count(*) from runs") or 0) >= 10
    worker.send_signal(signal.SIGKILL)
    clock = Stopwatch()
    worker.wait()
    heir = as_shipped.worker()
    again = "select count(*) from executions e join runs r on r.id = e.run_id where "
    again += f"r.worker like '% {heir.pid}'"
    # In runs a tenth as large, of which a worker carries some at a time.
    wait_for("some claimed anew", lambda: scalar(database, again), timeout_s=200)
    tell("seconds from kill -9 until a new worker had claimed some", clock.seconds)
    started = f"{again} and r.started_at is not null"
    wait_for("some running anew", lambda: scalar(database, started), timeout_s=200)
    tell("seconds from kill -9 until some ran in Prefect again", clock.seconds)
    assert scalar(database, "select max(size) from runs where closed_at is null") == 5
    gate.touch()
    executions = wait_until_final(database, ACME, ids, timeout_s=200)
    check_all_ended_once(database, executions)
    # None of them was lost alone.
    assert {e.attempt for e in executions} == {1}
    check_prefect_is_left_tidy(as_shipped)


class UnderWay:
    """Single and coalesced runs in the middle of an agent, and how far they are."""

    def __init__(self, services: Services, database: Database, effects: Path) -> None:
        self.database, self.effects = database, effects
        short = {"type": "probe", "config": {"effects": str(effects), "sleep_s": 5}}
        long = {"type": "probe", "config": {"effects": str(effects), "sleep_s": OUTAGE_S + 20}}
        long["options"] = {"timeout_s": 600}
        steps = {"Singles": [short] * 4, "Many": [short] * 4, "Long": [long, short]}
        flows = {n: save_workflow(database, ACME, chain(n, *s)) for n, s in steps.items()}
        set_batch(database, flows["Singles"], 1)
        self.workflows = list(flows.values())
        services.steward()
        services.worker()
        self.ids = [queue(database, ACME, flows["Singles"]).id for _ in range(5)]
        self.ids += add_many(database, flows["Many"], 60)
        self.ids += [queue(database, ACME, flows["Long"]).id]
        # Each short agent sleeps before it leaves its mark: once one has, the next one sleeps.
        wait_for("runs in the middle of an agent", self._is_in_the_middle, timeout_s=120)
        self.before = self._answered()

    def _is_in_the_middle(self) -> bool:
        sql = "select count(*) from executions where status = 'RUNNING'"
        if scalar(self.database, sql) != len(self.ids):
            return False
        return self.effects.exists() and len(self._answered()) >= 65

    def _answered(self) -> Counter[str]:
        """Count each execution's stored answers."""
        sql = text("select execution_id, count(*) from agent_runs group by 1")
        with self.database.org(ACME) as session:
            return Counter(dict(session.execute(sql).tuples().all()))

    def moved(self) -> int:
        """Count the executions, of those whose agents are short, with an answer since."""
        try:
            now = self._answered()
        except DatabaseUnreachable:
            return 0
        return sum(now[id] > self.before[id] for id in self.before)

    def see_it_go_on(self, clock: Stopwatch, tell: Tell) -> None:
        """Tell how soon the first one, and how soon all, have gone on."""
        self.before = +self.before
        wait_for("work that goes on", lambda: self.moved() > 0, timeout_s=200)
        tell("seconds until the first agent's answer was stored", clock.seconds)
        wait_for("all go on", lambda: self.moved() == len(self.before), timeout_s=200)
        tell("seconds until every execution under way had a new answer stored", clock.seconds)

    def check_ended_once(self, executions: Sequence[Execution]) -> None:
        """Make sure that nothing was lost, asked twice, or counted as a lost worker."""
        assert {e.status for e in executions} == {ExecutionStatus.COMPLETED}
        marks = Counter(
            mark for mark in self.effects.read_text().splitlines() if mark.split()[0] in self.ids
        )
        assert set(marks.values()) == {1}
        assert len(marks) == 4 * 65 + 2
        assert {e.attempt for e in executions} == {1}


@both_ways
def test_work_goes_on_by_itself_when_postgres_is_back_after_a_minute(
    as_shipped: Services, database: Database, tmp_path: Path, tell: Tell, away: Away
):
    work = UnderWay(as_shipped, database, tmp_path / "effects")
    with away(as_shipped.stack, "postgres"):
        time.sleep(OUTAGE_S)
    clock = Stopwatch()
    late = wait_for("a new execution", lambda: try_to_queue(database, work.workflows[1]))
    work.see_it_go_on(clock, tell)
    executions = wait_until_final(database, ACME, [*work.ids, *late], timeout_s=240)
    work.check_ended_once([e for e in executions if e.id not in late])
    check_prefect_is_left_tidy(as_shipped)


def try_to_queue(database: Database, workflow: Workflow) -> list[ExecutionId] | None:
    try:
        return [queue(database, ACME, workflow).id]
    except DatabaseUnreachable:
        return None


@both_ways
def test_work_goes_on_by_itself_when_prefect_is_back_after_a_minute_and_posts_were_accepted(
    as_shipped: Services, database: Database, tmp_path: Path, tell: Tell, away: Away
):
    work = UnderWay(as_shipped, database, tmp_path / "effects")
    quick = save_workflow(database, ACME, chain("Quick", {"type": "probe", "config": {}}))
    with database.org(ACME, user_id=ADMIN) as session:
        until = utc_now() + timedelta(hours=1)
        _, secret = add_token(session, ADMIN, name="recovery", expires_at=until)
    posted: list[ExecutionId] = []
    with api_process(as_shipped.database_url, tmp_path / "api.log") as api:
        headers = {"Authorization": f"Bearer {secret}"}
        with (
            httpx.Client(base_url=f"{api.url}/api/v1", headers=headers) as client,
            away(as_shipped.stack, "prefect"),
        ):
            until_s = time.monotonic() + OUTAGE_S
            while time.monotonic() < until_s:
                wish = {"workflow_id": quick.id, "input": {"text": "x"}}
                answer = client.post("/executions", json=wish)
                assert answer.status_code in (201, 202), answer.text
                posted.append(ExecutionId(answer.json()["id"]))
                time.sleep(1)
        clock = Stopwatch()
        tell("executions accepted while Prefect was away", len(posted))
        done = "select count(*) from executions where status = 'COMPLETED'"
        wait_for("a new execution at its end", lambda: scalar(database, done), timeout_s=200)
        tell("seconds until the first execution completed", clock.seconds)
        work.see_it_go_on(clock, tell)
        waited = wait_until_final(database, ACME, posted, timeout_s=200)
        tell("seconds until all that were posted meanwhile had completed", clock.seconds)
    assert {e.status for e in waited} == {ExecutionStatus.COMPLETED}
    executions = wait_until_final(database, ACME, work.ids, timeout_s=240)
    work.check_ended_once(executions)
    check_prefect_is_left_tidy(as_shipped)


def test_a_worker_that_is_stopped_while_prefect_is_away_ends(
    as_shipped: Services, database: Database
):
    as_shipped.environ["TENANTRY_DRAIN_GRACE_S"] = "2"
    step = {"type": "probe", "config": {"sleep_s": 10}}
    workflow = save_workflow(database, ACME, chain("Cut", step, step))
    as_shipped.steward()
    worker = as_shipped.worker()
    id = queue(database, ACME, workflow).id
    running = "select count(*) from executions where status = 'RUNNING'"
    wait_for("it running", lambda: scalar(database, running), timeout_s=100)
    with without(as_shipped.stack, "prefect"):
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    as_shipped.worker()
    (execution,) = wait_until_final(database, ACME, [id], timeout_s=200)
    assert execution.status is ExecutionStatus.COMPLETED
    check_prefect_is_left_tidy(as_shipped)


def test_an_agent_that_does_not_let_go_for_several_leases_costs_its_worker_nothing(
    as_shipped: Services, database: Database
):
    as_shipped.environ["TENANTRY_LEASE_S"] = "3"
    blocking = {"type": "probe", "config": {"block_s": 12}}
    workflow = save_workflow(database, ACME, chain("Blocking", blocking))
    as_shipped.steward()
    as_shipped.worker()
    (execution,) = wait_until_final(database, ACME, [queue(database, ACME, workflow).id])
    assert (execution.status, execution.attempt) == (ExecutionStatus.COMPLETED, 1)


def test_a_worker_that_hangs_for_good_loses_its_runs_to_another_one(
    as_shipped: Services, database: Database, tmp_path: Path
):
    obeying = {"type": "probe", "config": {"obey": True, "effects": str(tmp_path / "effects")}}
    workflow = save_workflow(database, ACME, chain("Hanging", obeying))
    id = queue(database, ACME, workflow, {"mode": "hang_once"}).id
    as_shipped.steward()
    hanging = as_shipped.worker()
    wait_for("it hanging", (tmp_path / "effects").exists, timeout_s=100)
    as_shipped.worker()
    (execution,) = wait_until_final(database, ACME, [id], timeout_s=150)
    hanging.kill()
    assert (execution.status, execution.attempt) == (ExecutionStatus.COMPLETED, 2)
