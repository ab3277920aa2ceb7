"""The steward: one process that keeps Prefect, the queue and the tenants' rows together.

Not a Prefect flow: it must work when Prefect's scheduler does not.
"""

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient

from deployments.settings import Settings, load_settings
from deployments.stopping import run_until_stopped
from deployments.wiring import open_database_of, start_logging
from domain.errors import TenantryError
from domain.ids import RunId
from flows.publish import ensure_pool, publish_all, republish_missing, wait_for_prefect
from flows.reconcile import reconcile_closed, reconcile_open, recover_lost
from persistence.leadership import Leadership
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.steward")
# Runs that were closed are looked at again once a minute, for an hour: a platform engineer may
# set a state by hand, and a crash that was none may end as completed.
_SECOND_LOOK_S = 60.0
_SECOND_LOOK_SPAN = timedelta(hours=1)


@dataclass(slots=True)
class Steward:
    """What one steward process remembers between its rounds; all of it may be lost."""

    client: PrefectClient
    database: Database
    settings: Settings
    leadership: Leadership
    missing: set[RunId] = field(default_factory=set[RunId])
    last_look: float = float("-inf")

    async def work(self) -> None:
        """Make a round every few seconds; runs until it is cancelled."""
        while True:
            try:
                if await asyncio.to_thread(self.leadership.hold):
                    await self.make_round()
            except (TenantryError, httpx.HTTPError) as error:
                # Prefect or Postgres is away: the next round does what this one could not.
                _LOG.warning("round broken off: %s: %s", type(error).__name__, error)
            except Exception:
                _LOG.exception("round broken off")
            await asyncio.sleep(self.settings.reconcile_interval_s)

    async def make_round(self) -> None:
        """Publish what changed, mirror what moved, recover what was lost."""
        attempts = self.settings.max_attempts
        await publish_all(self.client, self.database)
        await reconcile_open(
            self.client, self.database, max_attempts=attempts, missing=self.missing
        )
        await recover_lost(
            self.client, self.database, lease_s=self.settings.lease_s, max_attempts=attempts
        )
        if time.monotonic() - self.last_look >= _SECOND_LOOK_S:
            self.last_look = time.monotonic()
            await republish_missing(self.client, self.database)
            await reconcile_closed(
                self.client, self.database, since=_SECOND_LOOK_SPAN, max_attempts=attempts
            )


async def serve(settings: Settings) -> None:
    """Be the steward, or stand by for the one that is, until cancelled."""
    database = open_database_of(settings)
    leadership = Leadership(database.platform)
    try:
        await wait_for_prefect()
        async with get_client() as client:
            await ensure_pool(client)
            _LOG.info("the steward is up")
            await Steward(client, database, settings, leadership).work()
    finally:
        leadership.release()
        database.close()


def main() -> None:
    """Run the steward until a signal stops it."""
    settings = load_settings(os.environ)
    start_logging(settings)
    run_until_stopped(lambda: serve(settings))


if __name__ == "__main__":
    main()
