"""Prefect's own process worker: the same flow, in a new interpreter for each run."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import httpx

from deployments.bench.failures import BenchFailed
from deployments.bench.figures import PROCESS_WORKER, Measured
from deployments.bench.ground import Ground
from deployments.embedded.processes import end_with_parent

_POOL = "bench-process"
_WORKER = ("worker", "start", "--type", "process", "--pool", _POOL)
_ENTRYPOINT = "deployments.bench.bare_flow.bare"
_START_LIMIT_S, _RUN_LIMIT_S, _LOOK_S = 90.0, 90.0, 0.05
_STOP_S = 20


@contextmanager
def process_worker(ground: Ground) -> Generator[Callable[[], Measured]]:
    """Start Prefect's process worker; give a function that measures one run, POST to Completed.

    It asks for work every second and not every ten, as its default is: the wait is not what is
    compared.
    """
    environ = {**ground.environ(), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (ground.folder / "process-worker.log").open("w", encoding="utf-8") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", *_WORKER],
            env=environ,
            cwd=ground.folder,
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )
    ground.others[PROCESS_WORKER] = worker.pid
    try:
        with httpx.Client(base_url=ground.stack.prefect_api_url, timeout=30) as client:
            deployment_id = _deploy(client)
            yield lambda: _measure(client, deployment_id)
    finally:
        del ground.others[PROCESS_WORKER]
        worker.send_signal(signal.SIGINT)
        try:
            worker.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _deploy(client: httpx.Client) -> str:
    """Deploy the flow once the worker has made its pool."""
    deadline = time.monotonic() + _START_LIMIT_S
    while not client.get(f"/work_pools/{_POOL}").is_success:
        if time.monotonic() > deadline:
            raise BenchFailed("Prefect's process worker did not start.")
        time.sleep(_LOOK_S)
    flow = _post(client, "/flows/", {"name": "bench-bare"})
    wish: dict[str, Any] = {
        "name": "process",
        "flow_id": flow["id"],
        "entrypoint": _ENTRYPOINT,
        "work_pool_name": _POOL,
        "parameter_openapi_schema": {},
    }
    return str(_post(client, "/deployments/", wish)["id"])


def _measure(client: httpx.Client, deployment_id: str) -> Measured:
    began = time.perf_counter()
    path = f"/deployments/{deployment_id}/create_flow_run"
    run = _post(client, path, {"parameters": {"number": 1}})
    while run["state_type"] != "COMPLETED":
        took_s = time.perf_counter() - began
        if run["state_type"] in {"FAILED", "CRASHED", "CANCELLED"} or took_s > _RUN_LIMIT_S:
            raise BenchFailed(f"A run of Prefect's process worker ended as {run['state_type']}.")
        time.sleep(_LOOK_S)
        run = client.get(f"/flow_runs/{run['id']}").raise_for_status().json()
    took_s = time.perf_counter() - began
    return Measured(count=1, elapsed_s=took_s, latencies_ms=(took_s * 1000,))


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    return client.post(path, json=body).raise_for_status().json()
