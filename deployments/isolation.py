"""Carry what was lost more than once in a process of its own, one run at a time.

A worker that sees such executions waiting starts the process, and it ends when none is left. What
hangs or kills it takes no neighbour along, and is known by that.
"""

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from deployments.carrying import Carrier
from deployments.embedded.processes import end_with_parent
from deployments.settings import PREFIX
from domain.errors import TenantryError
from domain.runs import ClaimedRun
from persistence.isolation import claim_isolated, has_isolated_work
from persistence.queue import forget_worker
from persistence.runs import end_leases_of

_LOG = logging.getLogger("tenantry.worker")
_LOOK_EVERY_S = 2.0
_CLAIM_EVERY_S = 0.5
_IDLE_S = 5.0
_END_WAIT_S = 5.0
_POLL_S = 0.2


async def keep_isolated(
    carrier: Carrier, argv: Sequence[str], *, name_of: Callable[[int], str]
) -> None:
    """Start the process while there is work for it; runs until the worker drains.

    Args:
        argv: how a worker of this kind is started.
        name_of: the name under which the worker of a process is known.
    """
    while not carrier.draining:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            if not await asyncio.to_thread(_has_work, carrier):
                continue
            # In this thread, which lives as long as the process: the other one ends with it.
            process = _start(argv)
        except (TenantryError, OSError) as error:
            _LOG.warning("no isolated worker started: %s", error)
            continue
        _LOG.info("isolated worker started pid=%d", process.pid)
        try:
            await _wait_for(process, carrier)
        except asyncio.CancelledError:
            await _end(process)
            raise
        if process.returncode != 0:
            await asyncio.to_thread(_give_up, carrier, name_of(process.pid))


async def _wait_for(process: subprocess.Popen[bytes], carrier: Carrier) -> None:
    is_told = False
    while process.poll() is None:
        if carrier.draining and not is_told:
            process.terminate()
            is_told = True
        await asyncio.sleep(_POLL_S)


async def _end(process: subprocess.Popen[bytes]) -> None:
    # It was told when this worker began to drain, and has had as long as that.
    process.terminate()
    end = time.monotonic() + _END_WAIT_S
    while process.poll() is None and time.monotonic() < end:
        await asyncio.sleep(_POLL_S)
    process.kill()


def _start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    environ = {**os.environ, f"{PREFIX}WORKER_ISOLATED": "true", f"{PREFIX}WORKER_PROCESSES": "1"}
    return subprocess.Popen(
        list(argv),
        env=environ,
        stdin=subprocess.DEVNULL,
        preexec_fn=end_with_parent(signal.SIGTERM),
    )


def _give_up(carrier: Carrier, name: str) -> None:
    try:
        with carrier.runtime.database.for_platform() as session:
            forget_worker(session, name)
            left = end_leases_of(session, name)
    except TenantryError as error:
        _LOG.warning("leases end by themselves worker=%s: %s", name, error.message)
    else:
        _LOG.warning("isolated worker died worker=%s runs=%d", name, left)


async def take_isolated(carrier: Carrier) -> None:
    """Carry isolated executions, one run at a time; then end this process."""
    busy_at = time.monotonic()
    while not carrier.draining:
        claimed = await _claim(carrier)
        if claimed is not None:
            await carrier.start(claimed)
            busy_at = time.monotonic()
        elif time.monotonic() - busy_at > _IDLE_S:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        else:
            await asyncio.sleep(_CLAIM_EVERY_S)


async def _claim(carrier: Carrier) -> ClaimedRun | None:
    def claim() -> ClaimedRun | None:
        with carrier.runtime.database.for_platform() as session:
            return claim_isolated(
                session,
                worker=carrier.worker,
                lease_s=carrier.lease_s,
                agent_types=carrier.agent_types,
            )

    try:
        return await asyncio.to_thread(claim)
    except TenantryError as error:
        _LOG.warning("no isolated work taken: %s", error.message)
        return None


def _has_work(carrier: Carrier) -> bool:
    with carrier.runtime.database.for_platform() as session:
        return has_isolated_work(session, agent_types=carrier.agent_types)
