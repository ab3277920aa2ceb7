"""How long one execution takes on an idle stack, step by step, beside the same flow called bare.

    .venv/bin/python -m benchmarks.latency [--rounds 50] [--process-worker 3] [--trace] [--json]

API, worker and steward are processes of their own. One execution (`POST` to COMPLETED in its row)
and one call of the bare flow in this warm process, with one client open for all, take turns.
`--process-worker` also has Prefect's own worker carry the bare flow that many times, in an
interpreter of its own each. `--trace` lists every call to Prefect and every statement of one
execution; tracing costs time itself, so those figures are no measurement.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.context import AsyncClientContext
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from benchmarks.bare_flow import bare
from benchmarks.intake import ROOT, serving
from deployments.embedded.ports import choose_port
from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.installation import prefect_client_environ
from deployments.settings import load_settings
from deployments.worker import main as run_worker
from domain.clock import utc_now
from domain.executions import FINAL
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.databases import (
    ACME,
    ADMIN,
    AUDIT_KEY,
    add_organizations,
    cluster_of,
    open_roles,
)
from tests.support.factories import chain, save_workflow
from tests.support.homes import temporary_home
from tests.support.worker_main import ProbeWorker

STEPS = (
    "POST answered",
    "claimed",
    "flow run created",
    "Running",
    "Step 1 asked",
    "Step 1 answered",
    "Step 2 asked",
    "Step 2 answered",
    "Step 3 asked",
    "Step 3 answered",
    "Completed in Prefect",
    "row COMPLETED",
)
LOOK_S = 0.004
BETWEEN_S = 0.5
_ROW = text("select status from executions where id = :id")
_RUN = text("""
select e.started_at, e.completed_at, r.created_at as claimed, r.prefect_flow_run_id
from executions e join runs r on r.id = e.run_id where e.id = :id""")
_AGENTS = text("""
select agent_name, started_at, completed_at from agent_runs
where execution_id = :id order by started_at""")


class Execution:
    """Posts executions, and sees when their rows are done, with eyes of its own."""

    def __init__(self, port: int, secret: str, superuser: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {secret}"},
            timeout=120,
        )
        self._engine = create_engine(superuser, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._rows = self._engine.connect()

    async def measure(self, client: PrefectClient) -> dict[str, float]:
        """Carry out one; return when each step was reached, in milliseconds since the POST."""
        began = time.time()
        wish = {"workflow_id": "three", "input": {"text": "find leads"}}
        answer = await self._http.post("/executions", json=wish)
        answered, id = time.time(), answer.raise_for_status().json()["id"]
        status = "PENDING"
        while status not in FINAL:
            await asyncio.sleep(LOOK_S)
            status = self._rows.scalars(_ROW, {"id": id}).one()
        ended = time.time()
        if status != "COMPLETED":
            raise RuntimeError(f"{id} ended as {status}")
        times = await _steps(self._rows, client, id)
        times |= {"POST answered": answered, "row COMPLETED": ended}
        return {step: (times[step] - began) * 1000 for step in STEPS}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._rows.close()
        self._engine.dispose()


async def _steps(rows: Connection, client: PrefectClient, id: str) -> dict[str, float]:
    run = rows.execute(_RUN, {"id": id}).one()
    flow_run = await client.read_flow_run(run.prefect_flow_run_id)
    found: dict[str, datetime | None] = {
        "claimed": run.claimed,
        "flow run created": flow_run.created,
        "Running": run.started_at,
        "Completed in Prefect": run.completed_at,
    }
    for agent in rows.execute(_AGENTS, {"id": id}):
        found[f"{agent.agent_name} asked"] = agent.started_at
        found[f"{agent.agent_name} answered"] = agent.completed_at
    return {step: at.timestamp() for step, at in found.items() if at is not None}


async def measure_bare() -> float:
    """Call the bare flow in this process; return milliseconds."""
    began = time.perf_counter()
    await bare()
    return (time.perf_counter() - began) * 1000


async def measure_process_worker(client: PrefectClient, pool: str, times: int) -> list[float]:
    """Have Prefect's process worker carry the bare flow; return milliseconds of each run."""
    flow_id = await client.create_flow(bare)
    deployment_id = await client.create_deployment(
        flow_id=flow_id, name="process", entrypoint="benchmarks.bare_flow.bare", work_pool_name=pool
    )
    found: list[float] = []
    for number in range(times + 1):
        began = time.perf_counter()
        made = await client.create_flow_run_from_deployment(deployment_id, state=Scheduled())
        state = made.state
        while state is None or not state.is_final():
            await asyncio.sleep(0.1)
            state = (await client.read_flow_run(made.id)).state
        if not state.is_completed():
            raise RuntimeError(f"Prefect's worker ended it as {state.name}")
        if number:  # the first one also waits for the worker to be up
            found.append((time.perf_counter() - began) * 1000)
    return found


@contextmanager
def process(stack: EmbeddedStack, owner: str, log: Path, *arguments: str) -> Generator[None]:
    """Run a Python module beside us with the settings of an installation; stop it at the end."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TENANTRY_", "PREFECT_"))}
    environ |= prefect_client_environ(stack.settings) | {
        "TENANTRY_HOME": str(stack.settings.home),
        "TENANTRY_DATABASE_URL": owner,
        "TENANTRY_AUDIT_KEY": AUDIT_KEY.decode(),
        "PREFECT_API_URL": stack.prefect_api_url,
    }
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=environ,
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        child.terminate()
        child.wait(timeout=60)


def trace_to(path: Path) -> None:
    """Write down every HTTP call and every statement of this process, a JSON object a line."""
    file = path.open("a", buffering=1)

    def note(kind: str, what: str, took_ms: float) -> None:
        line = {"at": time.time(), "kind": kind, "what": what, "ms": round(took_ms, 2)}
        file.write(json.dumps(line) + "\n")

    def before(connection: Connection, *_: object) -> None:
        connection.info["began"] = time.perf_counter()

    def after(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        took_ms = (time.perf_counter() - connection.info["began"]) * 1000
        note("sql", " ".join(statement.split())[:110], took_ms)

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    event.listen(Engine, "begin", lambda _: note("sql", "BEGIN", 0))
    event.listen(Engine, "commit", lambda _: note("sql", "COMMIT", 0))
    for kind in (httpx.AsyncHTTPTransport, httpx.HTTPTransport):
        _trace_transport(kind, note)


def _trace_transport(kind: Any, note: Any) -> None:
    if kind is httpx.HTTPTransport:
        send = kind.handle_request

        def handle(self: Any, request: httpx.Request) -> httpx.Response:
            began = time.perf_counter()
            response = send(self, request)
            took_ms = (time.perf_counter() - began) * 1000
            note("HTTP, blocking", f"{request.method} {request.url.path}", took_ms)
            return response

        kind.handle_request = handle
        return
    asend = kind.handle_async_request

    async def ahandle(self: Any, request: httpx.Request) -> httpx.Response:
        began = time.perf_counter()
        response = await asend(self, request)
        took_ms = (time.perf_counter() - began) * 1000
        note("HTTP", f"{request.method} {request.url.path}", took_ms)
        return response

    kind.handle_async_request = ahandle


def prepare(database: Database) -> str:
    """Make an organization with a workflow of three agents; return a token for it."""
    add_organizations(database)
    step = {"type": "probe", "config": {}}
    save_workflow(database, ACME, chain("Three", step, step, step))
    with database.org(ACME, user_id=ADMIN) as session:
        _, secret = add_token(
            session, ADMIN, name="bench", expires_at=utc_now() + timedelta(hours=1)
        )
    return secret


async def measure(
    execution: Execution, *, rounds: int, process_worker: int
) -> tuple[list[dict[str, float]], list[float], list[float]]:
    """Take turns: one execution, one bare call; the first three of each are to warm up."""
    ours: list[dict[str, float]] = []
    bares: list[float] = []
    async with AsyncClientContext.get_or_create() as context:
        client = context.client
        for number in range(-3, rounds):
            # What one leaves to do behind it is not the other's to wait for.
            steps = await execution.measure(client)
            await asyncio.sleep(BETWEEN_S)
            bare_ms = await measure_bare()
            await asyncio.sleep(BETWEEN_S)
            if number >= 0:
                ours.append(steps)
                bares.append(bare_ms)
        worker: list[float] = []
        if process_worker:
            worker = await measure_process_worker(client, "process", process_worker)
    await execution.close()
    return ours, bares, worker


def report(ours: list[dict[str, float]], bares: list[float], worker: list[float]) -> str:
    """Give the table."""
    lines = [f"{'since the POST':24}  median      p95   (ms, {len(ours)} executions)"]
    for step in STEPS:
        lines.append(_line(step, [one[step] for one in ours]))
    whole = [one["row COMPLETED"] for one in ours]
    carried = [one["row COMPLETED"] - one["claimed"] for one in ours]
    lines += ["", _line("POST to COMPLETED", whole), _line("claimed to COMPLETED", carried)]
    lines.append(_line("bare flow, warm process", bares))
    lines.append(f"ratio of the medians: {_ratio(whole, bares):.2f}")
    if worker:
        lines.append(_line("Prefect's process worker", worker))
        lines.append(f"ratio to it: {_ratio(whole, worker):.3f}")
    return "\n".join(lines) + "\n"


def _line(name: str, values: list[float]) -> str:
    p95 = sorted(values)[int(len(values) * 0.95)]
    return f"{name:24} {statistics.median(values):7.1f}  {p95:7.1f}"


def _ratio(ones: list[float], others: list[float]) -> float:
    return statistics.median(ones) / statistics.median(others)


def show_trace(path: Path, steps: dict[str, float]) -> str:
    """List what the worker did in the last execution, in milliseconds before its row was done."""
    calls = [json.loads(line) for line in path.read_text().splitlines()]
    last = max(c["at"] for c in calls if "update executions e set" in c["what"]) + 0.03
    first = last - (steps["row COMPLETED"] - steps["claimed"]) / 1000 - 0.04
    lines = [
        f"{(c['at'] - last) * 1000:8.1f}  {c['ms']:7.2f}  {c['kind']:14} {c['what']}"
        for c in calls
        if first <= c["at"] <= last + 0.2
    ]
    return "\n".join(["      at     took  what", *lines]) + "\n"


def main() -> None:
    """Start everything, measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--process-worker", type=int, default=0)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", metavar="TRACE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        if options.worker:
            trace_to(Path(options.worker))
        run_worker(ProbeWorker)
        return
    with temporary_home() as home, tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"TENANTRY_HOME": str(home)})
        with open_stack(settings, ("postgres", "prefect")) as stack:
            stack.wait_ready()
            _measure_in(stack, Path(folder), options)


def _measure_in(stack: EmbeddedStack, folder: Path, options: argparse.Namespace) -> None:
    cluster = cluster_of(stack.superuser_url, stack.database_url)
    url = cluster.copy(cluster.make_template())
    with open_roles(url) as database:
        secret = prepare(database)
    owner = url.render_as_string(hide_password=False)
    superuser = cluster.as_superuser(url).render_as_string(hide_password=False)
    trace = folder / "trace"
    traced = str(trace) if options.trace else ""
    port = choose_port()
    with (
        serving("api.service", url, port),
        process(stack, owner, folder / "steward", "deployments.steward"),
        process(stack, owner, folder / "worker", "benchmarks.latency", "--worker", traced),
        temporary_settings({PREFECT_API_URL: stack.prefect_api_url}),
    ):
        time.sleep(10)  # the worker's start, and the steward's first round
        execution = Execution(port, secret, superuser)
        if options.process_worker:
            pool = ("prefect", "worker", "start", "--pool", "process", "--type", "process")
            with process(stack, owner, folder / "process", *pool):
                found = asyncio.run(
                    measure(execution, rounds=options.rounds, process_worker=options.process_worker)
                )
        else:
            found = asyncio.run(measure(execution, rounds=options.rounds, process_worker=0))
    ours, bares, worker = found
    if options.json:
        sys.stdout.write(json.dumps({"ms": ours, "bare": bares, "process": worker}) + "\n")
        return
    sys.stdout.write(report(ours, bares, worker))
    if options.trace:
        sys.stdout.write(show_trace(trace, ours[-1]))


if __name__ == "__main__":
    main()
