"""Tenantry, one execution a run: from POST until COMPLETED can be read in the table."""

import http.client
import itertools
import json
import select
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psycopg

from deployments.bench.contenders import check_output
from deployments.bench.failures import BenchFailed
from deployments.bench.figures import Measured
from deployments.bench.ground import Ground
from deployments.bench.steps import make_input
from deployments.bench.tenants import Tenant
from persistence.notifications import EVENTS

# What it takes to hear of a commit by LISTEN and to look at the row; measured, see the docs.
RESOLUTION = "LISTEN, then one look at the row"
_LOOK_AGAIN_S = 0.05
_PATIENCE_S = 60.0
# What became of each execution, and when: by PostgreSQL's clock, our worker's and Prefect's,
# which are one on one machine.
_STAGES = """
select e.id, e.status, (e.input_data->>'number')::int, e.output,
    extract(epoch from e.created_at), extract(epoch from r.created_at),
    (select extract(epoch from min(s.at)) from run_states s
        where s.run_id = r.id and s.type = 'RUNNING'),
    (select extract(epoch from min(a.started_at)) from agent_runs a where a.execution_id = e.id),
    (select extract(epoch from max(a.completed_at)) from agent_runs a where a.execution_id = e.id),
    (select extract(epoch from max(s.at)) from run_states s
        where s.run_id = r.id and s.type = 'COMPLETED')
from executions e left join runs r on r.id = e.run_id where e.id = any(%s)
"""
STAGES = (
    "POST sent to row written",
    "row written to claimed",
    "claimed to Running in Prefect",
    "Running to first agent",
    "first agent to last answer kept",
    "last answer to Completed in Prefect",
    "Completed in Prefect to row seen",
)


@dataclass(frozen=True, slots=True)
class _Posted:
    id: str
    sent_at: float
    seen_at: float
    took_ms: float


@dataclass(slots=True)
class _Watcher:
    """Hears of statuses on one connection, for all that wait."""

    connection: psycopg.Connection[Any]
    _open: dict[str, threading.Event] = field(default_factory=dict[str, threading.Event])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _heard: bool = False

    def __enter__(self) -> Self:
        self.connection.add_notify_handler(self._hear)
        self.connection.execute(f"listen {EVENTS}".encode())
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait(self, id: str) -> None:
        """Wait until an execution is final.

        Raises:
            BenchFailed: it does not end.
        """
        done = threading.Event()
        with self._lock:
            self._open[id] = done
        if not done.wait(_PATIENCE_S):
            raise BenchFailed(f"The execution {id} did not end within {_PATIENCE_S:.0f} seconds.")

    def _hear(self, _notification: psycopg.Notify) -> None:
        self._heard = True

    def _watch(self) -> None:
        while not self._stop.is_set():
            # The query below takes what has arrived off the socket, notifications and all: one
            # that came with its answer is of a commit that the query may not have seen.
            if not self._heard:
                select.select([self.connection.fileno()], [], [], _LOOK_AGAIN_S)
            self._heard = False
            with self._lock:
                waiting = list(self._open)
            ended = self.connection.execute(
                "select id from executions where id = any(%s) and completed_at is not null",
                [waiting],
            ).fetchall()
            with self._lock:
                for (id,) in ended:
                    self._open.pop(id).set()


def measure_single(
    ground: Ground, tenant: Tenant, token: str, *, at_once: int, seconds: float
) -> Measured:
    """Post executions, `at_once` at a time, each after the end of the one before.

    Raises:
        BenchFailed: the API refuses one, or one does not end as it should.
    """
    started = time.monotonic()
    with ground.connect() as connection, _Watcher(connection) as watcher:

        def lane(number: int) -> list[_Posted]:
            posted: list[_Posted] = []
            client = http.client.HTTPConnection("127.0.0.1", ground.api_port, timeout=30)
            while time.monotonic() - started < seconds:
                number += at_once
                posted.append(_post(client, watcher, tenant, token, number))
            client.close()
            return posted

        with ThreadPoolExecutor(at_once) as pool:
            posted = [each for lane_ in pool.map(lane, range(at_once)) for each in lane_]
    elapsed_s = time.monotonic() - started
    return _measured(ground, posted, elapsed_s)


def _post(
    client: http.client.HTTPConnection,
    watcher: _Watcher,
    tenant: Tenant,
    token: str,
    number: int,
) -> _Posted:
    body = json.dumps({"workflow_id": tenant.workflow.id, "input": make_input(number)})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent_at, begun = time.time(), time.perf_counter()
    client.request("POST", "/api/v1/executions", body, headers)
    answer = client.getresponse()
    text = answer.read()
    if answer.status != http.client.ACCEPTED:
        raise BenchFailed(f"The API answered {answer.status} instead of queueing an execution.")
    id = str(json.loads(text)["id"])
    watcher.wait(id)
    return _Posted(id, sent_at, time.time(), (time.perf_counter() - begun) * 1000)


def _measured(ground: Ground, posted: Sequence[_Posted], elapsed_s: float) -> Measured:
    with ground.connect() as connection:
        rows = connection.execute(_STAGES, [[each.id for each in posted]]).fetchall()
    by_id = {row[0]: row for row in rows}
    stages: list[list[float]] = [[] for _ in STAGES]
    pickups: list[float] = []
    for each in posted:
        _, status, number, output, *moments = by_id[each.id]
        if status != "COMPLETED":
            raise BenchFailed(f"The execution {each.id} ended as {status}.")
        check_output(number, output)
        times = [each.sent_at, *(float(moment) for moment in moments), each.seen_at]
        pickups.append((times[2] - times[0]) * 1000)
        for stage, (begin, end) in zip(stages, itertools.pairwise(times), strict=True):
            stage.append((end - begin) * 1000)
    return Measured(
        count=len(posted),
        elapsed_s=elapsed_s,
        latencies_ms=tuple(each.took_ms for each in posted),
        pickups_ms=tuple(pickups),
        stages_ms={name: tuple(times) for name, times in zip(STAGES, stages, strict=True)},
    )
