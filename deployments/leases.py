"""Keep the leases of this process's runs, and say that it lives; stop runs that were lost."""

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from uuid import UUID

from deployments.carrying import Carrier
from deployments.hang_watch import HangWatch
from domain.errors import TenantryError
from domain.ids import RunId
from flows.agent_task import mark_lost
from persistence.queue import note_worker
from persistence.runs import renew_leases

_LOG = logging.getLogger("tenantry.worker")
# After a renewal that failed: the leases may end soon.
_RETRY_S = 0.5
_BEAT_S = 1.0


async def keep_leases(carrier: Carrier, *, lease_s: float) -> None:
    """Renew all leases in one statement, three times a lease; runs until it is cancelled.

    In a thread of its own: behind an agent that does not let go for a while, and behind the
    queries of busy runs, it would come too late. One that hangs ends this process: `HangWatch`.
    """
    keeper = _Keeper(carrier, lease_s, asyncio.get_running_loop())
    thread = threading.Thread(target=keeper.keep, name="leases", daemon=True)
    watch = HangWatch(carrier.runtime.database, worker=carrier.worker)
    thread.start()
    watch.start()
    try:
        while True:
            watch.beat()
            await asyncio.sleep(_BEAT_S)
    finally:
        watch.stop()
        keeper.stopped.set()
        await asyncio.to_thread(thread.join)


@dataclass(slots=True)
class _Keeper:
    """What the thread and the event loop tell each other."""

    carrier: Carrier
    lease_s: float
    loop: asyncio.AbstractEventLoop
    stopped: threading.Event = field(default_factory=threading.Event)

    def keep(self) -> None:
        """Renew the leases until told to stop."""
        pause_s = 0.0
        while not self.stopped.wait(pause_s):
            pause_s = self.lease_s / 3
            try:
                self._renew_all()
            except TenantryError as error:
                pause_s = min(_RETRY_S, pause_s)
                _LOG.warning("leases not renewed: %s", error.message)
            except Exception:
                # It must go on: without it this worker would lose all that it does.
                _LOG.exception("renewing leases failed")

    def _renew_all(self) -> None:
        carrier = self.carrier
        # A copy in one step: the event loop adds and removes runs meanwhile.
        tokens = {live.run.lease_token: live.run.id for live in list(carrier.live.values())}
        lost = _renew(carrier, list(tokens), self.lease_s)
        for token in lost:
            self.loop.call_soon_threadsafe(_stop_lost, carrier, tokens[token])


def _stop_lost(carrier: Carrier, run_id: RunId) -> None:
    live = carrier.live.get(run_id)
    if live is not None and live.engine is not None and not live.engine.done():
        _LOG.warning("run %s was taken from this worker", run_id)
        mark_lost(run_id)
        live.engine.cancel()


def _renew(carrier: Carrier, tokens: list[UUID], lease_s: float) -> frozenset[UUID]:
    with carrier.runtime.database.for_platform() as session:
        if not carrier.draining:
            note_worker(
                session,
                carrier.worker,
                slots=carrier.limit,
                life_s=lease_s,
                agent_types=carrier.agent_types,
            )
        return renew_leases(session, tokens, lease_s=lease_s)
