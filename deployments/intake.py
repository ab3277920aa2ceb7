"""Take executions from the queue: woken by the database, and by the clock in case it was not."""

import asyncio
import logging
import random
from contextlib import aclosing, suppress

from deployments.carrying import Carrier
from domain.errors import TenantryError
from domain.queue_shares import Rules
from domain.runs import ClaimedRun
from persistence.notifications import QUEUE, listen
from persistence.queue import Claimant, claim_runs

_LOG = logging.getLogger("tenantry.worker")
_QUIET_S = 15.0
_PAUSE_S = 1.0
# A flow run costs Prefect a fifth of a second, whatever it carries. With some under way, what
# comes within this time goes along in one.
_BUSY_RUNS = 4
_LINGER_S = 0.1


async def take_work(carrier: Carrier, *, poll_s: float, rules: Rules) -> None:
    """Claim executions while there is room, until the worker drains or this is cancelled."""
    starting: set[asyncio.Task[None]] = set()
    while not carrier.draining:
        # Cleared first: what changes while this asks is a reason to ask again.
        carrier.changed.clear()
        claimed = await _claim(carrier, rules) if carrier.free_slots else []
        for run in claimed:
            task = asyncio.create_task(carrier.start(run))
            starting.add(task)
            task.add_done_callback(starting.discard)
        # One turn of the loop, so that the runs count before the next claim.
        await asyncio.sleep(0)
        if not claimed:
            await _wait(carrier, poll_s)
        elif len(carrier.live) >= _BUSY_RUNS:
            await asyncio.sleep(_LINGER_S)


async def listen_for_work(carrier: Carrier) -> None:
    """Wake the worker when executions are added; runs until it is cancelled.

    Only a hint: without it the worker asks by the clock.
    """
    while True:
        try:
            engine = carrier.runtime.database.platform
            async with aclosing(listen(engine, channel=QUEUE, quiet_s=_QUIET_S)) as news:
                async for _ in news:
                    carrier.changed.set()
        except TenantryError as error:
            _LOG.warning("not woken by the database: %s", error.message)
        await asyncio.sleep(_PAUSE_S)


async def _claim(carrier: Carrier, rules: Rules) -> list[ClaimedRun]:
    claimant = Claimant(
        name=carrier.worker,
        lease_s=carrier.lease_s,
        runs=carrier.limit,
        free_runs=carrier.free_slots,
        free_executions=carrier.free_executions,
        carried=carrier.executions - carrier.free_executions,
        agent_types=carrier.agent_types,
    )

    def claim() -> list[ClaimedRun]:
        with carrier.runtime.database.for_platform() as session:
            return claim_runs(session, claimant, rules=rules)

    try:
        return await asyncio.to_thread(claim)
    except TenantryError as error:
        _LOG.warning("no work taken: %s", error.message)
        return []


async def _wait(carrier: Carrier, poll_s: float) -> None:
    # Until something changes or the time is over; spread, so that idle workers do not ask in step.
    with suppress(TimeoutError):
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that meets the event.
        async with asyncio.timeout(poll_s * random.uniform(0.5, 1.0)):
            await carrier.changed.wait()
