"""Keep the leases of this process's runs, and say that it lives; stop runs that were lost."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from deployments.carrying import Carrier
from domain.errors import TenantryError
from flows.agent_task import mark_lost
from persistence.queue import note_worker
from persistence.runs import renew_leases

_LOG = logging.getLogger("tenantry.worker")


async def keep_leases(carrier: Carrier, *, lease_s: float) -> None:
    """Renew all leases in one statement, three times a lease; runs until it is cancelled.

    In a thread of its own: behind the queries of busy runs it would come too late.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="leases") as thread:
        await _keep(carrier, lease_s, thread)


async def _keep(carrier: Carrier, lease_s: float, thread: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    while True:
        tokens = {live.run.lease_token: live.run.id for live in carrier.live.values()}
        try:
            lost = await loop.run_in_executor(thread, _renew, carrier, list(tokens), lease_s)
        except TenantryError as error:
            _LOG.warning("leases not renewed: %s", error.message)
            lost = frozenset[UUID]()
        for token in lost:
            live = carrier.live.get(tokens[token])
            if live is not None and live.engine is not None and not live.engine.done():
                _LOG.warning("run %s was taken from this worker", live.run.id)
                mark_lost(live.run.id)
                live.engine.cancel()
        await asyncio.sleep(lease_s / 3)


def _renew(carrier: Carrier, tokens: list[UUID], lease_s: float) -> frozenset[UUID]:
    with carrier.runtime.database.for_platform() as session:
        if not carrier.draining:
            note_worker(session, carrier.worker, slots=carrier.limit, life_s=lease_s)
        return renew_leases(session, tokens, lease_s=lease_s)
