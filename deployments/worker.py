"""Run the worker as a service of its own: `tenantry worker`."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

import httpx

from deployments.prefect_worker import TenantryWorker
from deployments.settings import Settings, load_settings
from deployments.stopping import run_until_stopped
from deployments.wiring import start_logging
from deployments.worker_group import run_group
from flows.naming import POOL

_LOG = logging.getLogger("tenantry.worker")
_SYNC_S = 30.0


async def serve(
    settings: Settings,
    kind: type[TenantryWorker] = TenantryWorker,
    *,
    argv: Sequence[str] | None = None,
) -> None:
    """Work until cancelled, then drain.

    Args:
        argv: how a process of this kind is started, for executions that need one of their own.

    Prefect's own loop gives up after a few errors in a row, and drops its runs; this one goes on
    until Prefect is back.
    """
    worker = kind(work_pool_name=POOL, limit=settings.worker_limit)
    worker.isolation_argv = argv or worker.isolation_argv
    async with worker:
        _LOG.info("worker %r is up", worker.name)
        await asyncio.gather(
            _repeat(worker.get_and_submit_flow_runs, interval_s=settings.prefect_poll_s),
            _repeat(worker.sync_with_backend, interval_s=_SYNC_S),
        )


async def _repeat(step: Callable[[], Awaitable[object]], *, interval_s: float) -> None:
    while True:
        try:
            await step()
        except httpx.HTTPError as error:
            _LOG.warning("Prefect did not answer: %s", type(error).__name__)
        except Exception:
            _LOG.exception("a step of Prefect's worker failed")
        await asyncio.sleep(interval_s)


def main(
    kind: type[TenantryWorker] = TenantryWorker,
    *,
    processes: int | None = None,
    argv: Sequence[str] = (sys.executable, "-m", "deployments.worker"),
) -> None:
    """Run the worker until a signal stops it.

    Args:
        processes: how many of them, each a process of its own; else as the settings say.
        argv: how another process is started that is this same kind of worker.

    Raises:
        WorkersFailed: they are several, and none can be started.
    """
    settings = load_settings(os.environ)
    start_logging(settings)
    count = processes or settings.worker_processes
    if count > 1:
        run_group(settings, argv, count=count)
    else:
        run_until_stopped(lambda: serve(settings, kind, argv=argv))


if __name__ == "__main__":
    main()
