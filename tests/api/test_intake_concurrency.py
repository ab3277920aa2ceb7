"""32 clients ask at once, workers finish meanwhile: nothing doubled, lost, miscounted or stuck."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import URL, text

from deployments.embedded.layout import Home
from deployments.embedded.stack import EmbeddedStack
from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.execution_queries import ExecutionRecord
from domain.executions import ExecutionError, ExecutionStatus
from domain.ids import ExecutionId, OrgId
from domain.runs import ClaimedRun, RunState, StateType
from persistence.audit import verify_audit
from persistence.execution_intake import SingleWish, add_requested
from persistence.execution_moves import FinishedExecution, finish_executions, start_executions
from persistence.queue import claim_run
from persistence.runs import close_run, hold_lease, lock_run
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.api_process import serving
from tests.support.databases import ACME, ADMIN, GLOBEX, Cluster
from tests.support.deadlocks import DeadlockLog
from tests.support.factories import simple_workflow
from tests.support.services import wait_for

pytestmark = pytest.mark.processes

CLIENTS = 32
REPEATED = 10  # one request in so many repeats a key
TWIN_ROUNDS = 5  # in which each pair of clients sends a key of its own, all at the same moment
WORKERS = 4
CANCELLED_EACH = 2
PATIENCE_S = 120
_ENDS = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)
_ERROR = ExecutionError(ErrorCode.AGENT_TIMED_OUT, "Too slow.", "Wait.")


@dataclass(frozen=True)
class Answer:
    """One request for an execution, and what came back."""

    org_id: OrgId
    key: str | None
    given: str
    status: int
    document: dict[str, Any]


@dataclass
class Crowd:
    """Clients of one or several processes; client `n` asks process `n % len(ports)`.

    Clients 2n and 2n + 1 are a pair of one organization.
    """

    ports: list[int]
    tokens: dict[OrgId, str]
    requests: int
    answers: list[Answer] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def org_of(self, client: int) -> OrgId:
        return list(self.tokens)[client // 2 % len(self.tokens)]

    def run(self) -> None:
        barrier = threading.Barrier(CLIENTS, timeout=PATIENCE_S)
        with ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [pool.submit(self._work, n, barrier) for n in range(CLIENTS)]
        for job in jobs:
            job.result()

    def _work(self, client: int, barrier: threading.Barrier) -> None:
        """Ask for new ones, with and without a key, in between for some that were asked for."""
        chance = random.Random(client)
        twins = [f"twin {client // 2} {number}" for number in range(TWIN_ROUNDS)]
        twin_requests = CLIENTS * TWIN_ROUNDS
        again = _share(self.requests // REPEATED - twin_requests // 2, client)
        new = _share(self.requests - twin_requests, client) - again
        kinds = chance.sample(["again"] * again + ["new"] * new, again + new)
        every = len(kinds) // TWIN_ROUNDS
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ports[client % len(self.ports)], timeout=PATIENCE_S
        )
        for number, kind in enumerate(kinds):
            if twins and number % every == 0:
                key = twins.pop()
                barrier.wait()
                self._ask(connection, client, key, f"input of {key}")
            if kind == "again":
                key, given = chance.choice(self._known_keys(client))
                self._ask(connection, client, key, given)
            else:
                key = f"own {client} {number}" if chance.random() < 0.5 else None
                made = self._ask(connection, client, key, f"input {client} {number}")
                if key is None and number < 2 * CANCELLED_EACH:
                    self._cancel(connection, client, made)
        connection.close()

    def _known_keys(self, client: int) -> list[tuple[str, str]]:
        # Keys whose first answer is there, of anybody: each is repeated later than it was new.
        org_id = self.org_of(client)
        with self.lock:
            return [(a.key, a.given) for a in self.answers if a.key and a.org_id == org_id]

    def _ask(
        self, connection: http.client.HTTPConnection, client: int, key: str | None, given: str
    ) -> Answer:
        body = {"workflow_id": "simple", "input": {"text": given}, "idempotency_key": key}
        org_id = self.org_of(client)
        status, document = self._post(connection, org_id, "/api/v1/executions", body)
        answer = Answer(org_id, key, given, status, document)
        with self.lock:
            self.answers.append(answer)
        return answer

    def _cancel(self, connection: http.client.HTTPConnection, client: int, made: Answer) -> None:
        path = f"/api/v1/executions/{made.document['id']}/cancel"
        status, _ = self._post(connection, self.org_of(client), path, None)
        with self.lock:
            self.cancels.append(status)

    def _post(
        self, connection: http.client.HTTPConnection, org_id: OrgId, path: str, body: Any
    ) -> tuple[int, dict[str, Any]]:
        headers = {
            "Authorization": f"Bearer {self.tokens[org_id]}",
            "Content-Type": "application/json",
        }
        content = None if body is None else json.dumps(body)
        connection.request("POST", path, content, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def _share(total: int, client: int) -> int:
    return total // CLIENTS + (client < total % CLIENTS)


@dataclass
class Workers:
    """Threads that bring to its end whatever waits, as workers do, until they are told to stop."""

    database: Database
    no_more: threading.Event = field(default_factory=threading.Event)
    claimed: list[ExecutionId] = field(default_factory=list)
    met: threading.Event = field(default_factory=threading.Event)
    """Some were carried while others were still asked for."""

    def work(self, number: int) -> None:
        while True:
            is_last_look = self.no_more.is_set()
            with self.database.for_platform() as session:
                claim = claim_run(session, worker=f"w{number}", lease_s=60, size=50)
            if claim is not None:
                self._carry(claim)
                if not self.no_more.is_set():
                    self.met.set()
            elif is_last_look:
                return
            # So that they carry several at once, as they do where there is much to do.
            time.sleep(0.1)

    def _carry(self, claim: ClaimedRun) -> None:
        run = claim.run
        self.claimed += claim.execution_ids
        with self.database.org(run.org_id) as session:
            lock_run(session, run.id)
            start_executions(session, run.id, state=_state(), at=utc_now())
        finished = [_ended(id) for id in reversed(claim.execution_ids)]
        with self.database.org(run.org_id) as session:
            hold_lease(session, run)
            finish_executions(
                session, finished, at=utc_now(), started_at=None, state=_state(StateType.COMPLETED)
            )
        # A worker that reports twice changes nothing.
        with self.database.org(run.org_id) as session:
            lock_run(session, run.id)
            again = finish_executions(
                session, finished, at=utc_now(), started_at=None, state=_state(StateType.COMPLETED)
            )
            close_run(session, run.id)
        assert again == 0


def _state(kind: StateType = StateType.RUNNING) -> RunState:
    return RunState(uuid4(), kind, kind.value.title(), utc_now())


def _ended(id: ExecutionId) -> FinishedExecution:
    status = _ENDS[ord(id[-1]) % len(_ENDS)]
    return FinishedExecution(
        id=id,
        status=status,
        output={"of": id} if status is ExecutionStatus.COMPLETED else None,
        error=None if status is ExecutionStatus.COMPLETED else _ERROR,
        agent_results={},
        execution_graph={},
    )


@pytest.fixture
def deadlocks(stack: EmbeddedStack, cluster: Cluster, database_url: URL) -> DeadlockLog:
    log = Home(stack.settings.home).log_of("postgres")
    return DeadlockLog(log, log.stat().st_size, cluster.as_superuser(database_url))


@contextmanager
def processes(owner: URL, count: int) -> Iterator[list[int]]:
    """Serve the API in so many processes; give their ports."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving("api.service", owner)) for _ in range(count)]


def token_of(database: Database, org_id: OrgId) -> str:
    with database.org(org_id, user_id=ADMIN) as session:
        until = utc_now() + timedelta(hours=1)
        return add_token(session, ADMIN, name="crowd", expires_at=until)[1]


def check_organization(database: Database, org_id: OrgId, answers: list[Answer]) -> set[str]:
    """Check that rows, trail and counters are what the answers promised; return the rows' ids."""
    with database.org(org_id, snapshot=True) as session:
        rows = session.execute(text("select * from executions")).all()
        trail = session.execute(
            text("select action, resource_id, execution_id from audit_logs")
        ).all()
        counted = session.execute(text("select * from workflows")).one()
        assert verify_audit(session).ok
    # The answers: one id for each key, one for each request without a key, each with its input.
    by_key: dict[str, set[str]] = {}
    for answer in answers:
        if answer.key is not None:
            by_key.setdefault(answer.key, set()).add(answer.document["id"])
    assert {key: ids for key, ids in by_key.items() if len(ids) != 1} == {}
    unkeyed = [answer.document["id"] for answer in answers if answer.key is None]
    assert len(set(unkeyed)) == len(unkeyed)
    assert all(a.document["input_data"] == {"text": a.given} for a in answers)
    # The rows: exactly those.
    assert len(rows) == len(by_key) + len(unkeyed)
    known = {row.id: row for row in rows}
    assert known.keys() == {answer.document["id"] for answer in answers}
    for answer in answers:
        row = known[answer.document["id"]]
        assert (row.idempotency_key, row.input_data) == (answer.key, {"text": answer.given})
    # The trail: each was created once and ended once.
    ends = Counter(entry.execution_id for entry in trail if entry.action == "workflow.executed")
    created = Counter(e.resource_id for e in trail if e.action == "execution.created")
    assert created == ends == Counter(known.keys())
    # The counters: what the rows say.
    statuses = Counter(row.status for row in rows)
    assert statuses.keys() == {"COMPLETED", "FAILED", "CANCELLED"}
    assert (
        counted.execution_count,
        counted.success_count,
        counted.failure_count,
        counted.cancelled_count,
    ) == (len(rows), statuses["COMPLETED"], statuses["FAILED"], statuses["CANCELLED"])
    assert all(row.output == {"of": row.id} for row in rows if row.status == "COMPLETED")
    return set(known)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("count", "org_ids", "requests"),
    [
        pytest.param(1, (ACME,), 2_000, id="one-process"),
        # The two of a pair, who use the same key at the same moment, ask different processes.
        pytest.param(2, (ACME, GLOBEX), 1_000, id="two-processes-and-organizations"),
    ],
)
def test_a_crowd_loses_doubles_and_miscounts_nothing(
    database: Database,
    database_url: URL,
    deadlocks: DeadlockLog,
    count: int,
    org_ids,
    requests: int,
):
    for org_id in org_ids:
        simple_workflow(database, org_id)
    workers = Workers(database)
    with processes(database_url, count) as ports:
        tokens = {org_id: token_of(database, org_id) for org_id in org_ids}
        crowd = Crowd(ports, tokens, requests)
        with ThreadPoolExecutor(WORKERS) as pool:
            jobs = [pool.submit(workers.work, number) for number in range(WORKERS)]
            try:
                crowd.run()
            finally:
                workers.no_more.set()
        for job in jobs:
            job.result()
    assert Counter(answer.status for answer in crowd.answers) == {202: requests}
    # 200: it was cancelled by then.
    assert set(crowd.cancels) <= {200, 202, 409}
    assert workers.met.is_set()
    own = {org_id: [a for a in crowd.answers if a.org_id == org_id] for org_id in org_ids}
    ids = {org_id: check_organization(database, org_id, own[org_id]) for org_id in org_ids}
    assert sum(len(found) for found in ids.values()) == requests - requests // REPEATED
    assert len(set().union(*ids.values())) == requests - requests // REPEATED
    # Nothing was queued twice: no two workers were given the same one.
    assert len(workers.claimed) == len(set(workers.claimed))
    assert set(workers.claimed) <= set().union(*ids.values())
    database.close()  # What its connections have counted is added when they end.
    assert deadlocks.lines() == []
    assert deadlocks.count() == 0


def test_two_processes_that_write_the_same_keys_in_opposite_order_are_no_deadlock(
    database: Database, deadlocks: DeadlockLog
):
    workflow = simple_workflow(database, ACME)
    barrier = threading.Barrier(2, timeout=PATIENCE_S)

    def work(step: int) -> list[str]:
        found: list[str] = []
        for number in range(15):
            wishes = [wish(workflow.id, f"key {number} {place}") for place in range(64)][::step]
            barrier.wait()
            with database.org(ACME, user_id=ADMIN) as session:
                answers = add_requested(session, wishes)
            assert all(isinstance(answer, ExecutionRecord) for answer in answers)
            found += [answer.execution.id for answer in answers[::step]]
        return found

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, (1, -1))
    assert first == second
    database.close()
    assert deadlocks.lines() == []
    assert deadlocks.count() == 0


def wish(workflow: str, key: str) -> SingleWish:
    return SingleWish(workflow=workflow, labels={}, input_data={"text": key}, idempotency_key=key)


def test_a_deadlock_would_be_seen(database: Database, deadlocks: DeadlockLog):
    """The control: two transactions that lock two workflows in opposite order."""
    first, second = (simple_workflow(database, ACME, name=name) for name in ("One", "Two"))
    barrier = threading.Barrier(2, timeout=PATIENCE_S)
    lock = text("select 1 from workflows where id = :id for update")

    def work(ids: list[str]) -> bool:
        try:
            with database.org(ACME) as session:
                session.execute(lock, {"id": ids[0]})
                barrier.wait()
                session.execute(lock, {"id": ids[1]})
        except Exception as error:
            return "deadlock detected" in f"{error} {error.__cause__}"
        return False

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(work, [[first.id, second.id], [second.id, first.id]]))
    database.close()
    assert sorted(seen) == [False, True]
    assert "deadlock detected" in " ".join(deadlocks.lines())
    wait_for("the deadlock in the statistics", lambda: deadlocks.count() == 1)
