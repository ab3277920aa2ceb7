"""Take executions from the queue: woken by the database, and by the clock in case it was not."""

import asyncio
import logging
import random
from contextlib import suppress

from deployments.carrying import Carrier
from domain.errors import TenantryError
from domain.runs import ClaimedRun
from persistence.runs import claim_run

_LOG = logging.getLogger("tenantry.worker")


async def take_work(carrier: Carrier, *, poll_s: float) -> None:
    """Claim executions while there are free slots, until the worker drains or this is cancelled."""
    starting: set[asyncio.Task[None]] = set()
    while not carrier.draining:
        claimed = await _claim(carrier) if carrier.free_slots else None
        if claimed is None:
            await _wait(carrier, poll_s)
            continue
        task = asyncio.create_task(carrier.start(claimed))
        starting.add(task)
        task.add_done_callback(starting.discard)
        # One turn of the loop, so that the run counts before the next claim.
        await asyncio.sleep(0)


async def _claim(carrier: Carrier) -> ClaimedRun | None:
    def claim() -> ClaimedRun | None:
        with carrier.runtime.database.for_platform() as session:
            return claim_run(session, worker=carrier.worker, lease_s=carrier.lease_s)

    try:
        return await asyncio.to_thread(claim)
    except TenantryError as error:
        _LOG.warning("no work taken: %s", error.message)
        return None


async def _wait(carrier: Carrier, poll_s: float) -> None:
    # Until a run ends or the time is over; spread, so that idle workers do not ask in step.
    carrier.changed.clear()
    with suppress(TimeoutError):
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that meets the event.
        async with asyncio.timeout(poll_s * random.uniform(0.5, 1.0)):
            await carrier.changed.wait()
