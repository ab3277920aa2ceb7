"""What event streams deliver, how soon, and what a client costs the process that serves it.

    .venv/bin/python -m benchmarks.streams [--orgs 20] [--clients 200] [--executions 1000]
        [--idle 1000] [--json]

The API is a process of its own; all clients are raw sockets of one event loop in this one, which
also moves the executions, in four threads. A delay is from the event's time in the database, just
before its commit, to the client's hands. Memory is the serving process's own (RSS): what it grew
by from no client to all, by clients; the kernel's socket buffers are not in it.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from deployments.embedded.stack import open_stack
from deployments.settings import load_settings
from domain.catalog import Workflow
from domain.ids import OrgId
from persistence.notifications import get_last_seq
from persistence.sessions import Database
from tests.support.api_process import ApiProcess, api_process
from tests.support.databases import cluster_of, open_roles
from tests.support.homes import temporary_home
from tests.support.listeners import Listener, listening
from tests.support.lives import add_tenants, live_through

Tenants = dict[OrgId, tuple[Workflow, str]]
LISTENING = text("select count(*) from pg_stat_activity where application_name = 'tenantry-events'")


def make_listeners(served: ApiProcess, tenants: Tenants, count: int) -> dict[OrgId, list[Listener]]:
    """Spread clients evenly over the organizations."""
    return {
        org_id: [Listener(served.port, token) for _ in range(count // len(tenants))]
        for org_id, (_, token) in tenants.items()
    }


async def measure_idle(served: ApiProcess, tenants: Tenants, count: int) -> dict[str, Any]:
    """Say what clients cost that hear nothing."""
    before = served.rss_bytes()
    listeners = make_listeners(served, tenants, count)
    everybody = [each for own in listeners.values() for each in own]
    async with listening(everybody):
        grown = served.rss_bytes() - before
    return {"clients": len(everybody), "bytes_per_client": round(grown / len(everybody))}


async def measure_delivery(
    database: Database, served: ApiProcess, tenants: Tenants, *, count: int, executions: int
) -> dict[str, Any]:
    """Let executions live while clients listen; say how many events came, how fast, how late."""
    before = served.rss_bytes()
    listeners = make_listeners(served, tenants, count)
    everybody = [each for own in listeners.values() for each in own]
    async with listening(everybody):
        hearing = [asyncio.create_task(each.hear(sys.maxsize)) for each in everybody]
        with database.for_platform() as session:
            sessions = session.scalar(LISTENING)
        started = time.monotonic()
        await asyncio.to_thread(
            live_through,
            database,
            [(org_id, workflow) for org_id, (workflow, _) in tenants.items()],
            executions=executions // len(tenants),
        )
        while not await asyncio.to_thread(_have_heard_all, database, listeners):
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - started
        grown = served.rss_bytes() - before
        for task in hearing:
            task.cancel()
        await asyncio.gather(*hearing, return_exceptions=True)
    delays = sorted(event.delay_s for each in everybody for event in each.heard)
    return {
        "clients": len(everybody),
        "events": len(delays),
        "events_per_s": round(len(delays) / took_s),
        "delay_p50_ms": round(statistics.median(delays) * 1000, 1),
        "delay_p95_ms": round(delays[int(len(delays) * 0.95)] * 1000, 1),
        "delay_max_ms": round(delays[-1] * 1000, 1),
        "bytes_per_client": round(grown / len(everybody)),
        "listen_sessions": sessions,
    }


def _have_heard_all(database: Database, listeners: dict[OrgId, list[Listener]]) -> bool:
    for org_id, own in listeners.items():
        with database.org(org_id) as session:
            last = get_last_seq(session)
        if any(each.position != last for each in own):
            return False
    return True


def show(found: dict[str, dict[str, Any]]) -> str:
    """Lay the figures out as a table."""
    rows = [
        (f"{part}: {name}", value) for part, own in found.items() for name, value in own.items()
    ]
    return "".join(f"{name:32} {value:>12,}\n" for name, value in rows)


async def measure(
    database: Database, served: ApiProcess, tenants: Tenants, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Take all figures."""
    sizes = {"count": options.clients, "executions": options.executions}
    found = {"busy": await measure_delivery(database, served, tenants, **sizes)}
    found["idle"] = await measure_idle(served, tenants, options.idle)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a database of its own, take the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orgs", type=int, default=20)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--executions", type=int, default=1_000)
    parser.add_argument("--idle", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with temporary_home() as home, tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"TENANTRY_HOME": str(home)})
        with open_stack(settings, ("postgres",)) as stack:
            cluster = cluster_of(stack.superuser_url, stack.database_url)
            url = cluster.copy(cluster.make_template())
            log = Path(folder) / "api.log"
            with open_roles(url) as database, api_process(url, log, log_level="WARNING") as served:
                tenants = add_tenants(database, options.orgs)
                found = asyncio.run(measure(database, served, tenants, options))
    sys.stdout.write(json.dumps(found) + "\n" if options.json else show(found))


if __name__ == "__main__":
    main()
