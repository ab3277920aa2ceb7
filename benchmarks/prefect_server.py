"""What a plain flow of three tasks costs Prefect's server, by its settings.

    .venv/bin/python -m benchmarks.prefect_server [--rounds 3] [--runs 40] [--json]

Each setting has a server of its own on an empty database; they take turns, so that whatever else
the machine does meets all of them. CPU is the server process's own, read from the kernel, from the
first run until its queues of events are empty: it does not depend on who else is working.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prefect.context import AsyncClientContext
from sqlalchemy import create_engine, make_url, text

from benchmarks.bare_flow import bare
from deployments.embedded.layout import Home
from deployments.embedded.ports import choose_port
from deployments.embedded.prefect_server import TUNED, api_url, build_prefect_spec
from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.settings import load_settings
from tests.support.homes import temporary_home

_SERVICES = "PREFECT_SERVER_SERVICES_"
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "Prefect's defaults": {},
    "tuned": TUNED,
    "tuned, triggers off": {**TUNED, f"{_SERVICES}TRIGGERS_ENABLED": "false"},
    "tuned, persister off": {**TUNED, f"{_SERVICES}EVENT_PERSISTER_ENABLED": "false"},
    "tuned, all three off": {
        **TUNED,
        f"{_SERVICES}TRIGGERS_ENABLED": "false",
        f"{_SERVICES}EVENT_PERSISTER_ENABLED": "false",
        "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "false",
    },
}
CLIENT = {
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}
# Longer than the recorder and the persister keep events back.
_FLUSHED_S = 8.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """One server, and what its runs have cost."""

    url: str
    pid: int
    alone_ms: list[float] = field(default_factory=list[float])
    """One run after the other."""
    per_s: list[float] = field(default_factory=list[float])
    """Eight at a time, one figure a round."""
    cpu_ms: list[float] = field(default_factory=list[float])
    """Of the server, for each run, one figure a round."""

    def cpu_s(self) -> float:
        """Read how much CPU time it has had."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def server(stack: EmbeddedStack, name: str, settings: Mapping[str, str]) -> Generator[Server]:
    """Run a server with these settings and none of the other tuned ones, on a new database."""
    superuser = make_url(stack.superuser_url)
    database = f"prefect_{len(name)}_{time.monotonic_ns()}"
    engine = create_engine(superuser, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database {database}"))
    engine.dispose()
    port = choose_port()
    home = Home(stack.settings.home)
    spec = build_prefect_spec(home, port=port, database_port=1, database_password="unused")
    kept = {name: value for name, value in spec.env.items() if name not in TUNED}
    url = superuser.set(drivername="postgresql+asyncpg", database=database)
    kept["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url.render_as_string(hide_password=False)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    child = subprocess.Popen(spec.argv, env={**environ, **kept, **settings}, cwd=spec.cwd)
    try:
        deadline = time.monotonic() + 240
        while not _is_ready(api_url(port)):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server with {name} did not start")
            time.sleep(0.2)
        yield Server(api_url(port), child.pid)
    finally:
        child.terminate()
        child.wait(timeout=60)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=2).is_success
    except httpx.HTTPError:
        return False


async def call(*, runs: int) -> dict[str, float | list[float]]:
    """Call the bare flow `runs` times one after the other, and as often eight at a time."""
    alone_ms: list[float] = []
    async with AsyncClientContext.get_or_create():
        await bare()
        for _ in range(runs):
            began = time.perf_counter()
            await bare()
            alone_ms.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        for _ in range(0, runs, 8):
            await asyncio.gather(*(bare() for _ in range(8)))
        took_s = time.perf_counter() - began
    together = len(range(0, runs, 8)) * 8
    return {"alone_ms": alone_ms, "per_s": together / took_s, "runs": runs + together + 1}


def measure(server: Server, *, runs: int) -> None:
    """Have a process of its own call the flow: Prefect sends events to one server a process."""
    before = server.cpu_s()
    argv = [sys.executable, "-m", "benchmarks.prefect_server", "--call", "--runs", str(runs)]
    environ = {**os.environ, **CLIENT, "PREFECT_API_URL": server.url}
    answer = subprocess.run(argv, env=environ, stdout=subprocess.PIPE, check=True)
    found = json.loads(answer.stdout)
    time.sleep(_FLUSHED_S)
    server.alone_ms += found["alone_ms"]
    server.per_s.append(found["per_s"])
    server.cpu_ms.append((server.cpu_s() - before) * 1000 / found["runs"])


def main() -> None:
    """Measure all settings in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--call", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        sys.stdout.write(json.dumps(asyncio.run(call(runs=options.runs))))
        return
    found: dict[str, Server] = {}
    with temporary_home() as home, ExitStack() as running:
        stack = running.enter_context(
            open_stack(load_settings({"TENANTRY_HOME": str(home)}), ("postgres",))
        )
        for name, settings in SETTINGS.items():
            found[name] = running.enter_context(server(stack, name, settings))
        for _ in range(options.rounds):
            for one in found.values():
                measure(one, runs=options.runs)
    if options.json:
        rows = {name: vars(one) for name, one in found.items()}
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    sys.stdout.write(f"{'settings':24} alone, ms   runs/s at 8   server CPU, ms a run\n")
    for name, one in found.items():
        alone, per_s = statistics.median(one.alone_ms), statistics.median(one.per_s)
        cpu_ms = statistics.median(one.cpu_ms)
        sys.stdout.write(f"{name:24} {alone:9.0f}   {per_s:11.1f}   {cpu_ms:20.0f}\n")


if __name__ == "__main__":
    main()
