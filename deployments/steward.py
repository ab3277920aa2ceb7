"""The steward: one process that keeps Prefect, the queue and the tenants' rows together.

Not a Prefect flow: it must work when Prefect's scheduler does not.
"""

import asyncio
import logging
import os
import socket
from dataclasses import dataclass

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from deployments.rounds import Rounds
from deployments.settings import Settings, load_settings
from deployments.steadiness import Steadiness
from deployments.stopping import run_until_stopped
from deployments.wiring import open_database_of, start_logging
from domain.errors import TenantryError
from flows.publish import ensure_pool, wait_for_prefect
from persistence.leadership import Leadership
from persistence.sessions import Database
from persistence.steward_status import RoundReport, note_round

_LOG = logging.getLogger("tenantry.steward")
_BEAT_S = 2.0
_PREFECT_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Steward:
    """One steward process: it leads, or stands by for the one that does."""

    client: PrefectClient
    database: Database
    settings: Settings
    leadership: Leadership

    async def work(self) -> None:
        """Lead whenever nobody else does; runs until it is cancelled."""
        while True:
            if await self._hold():
                _LOG.info("this steward leads, as number %d", self.leadership.epoch)
                await self._lead()
            await asyncio.sleep(self.settings.reconcile_interval_s)

    async def _lead(self) -> None:
        """Make rounds until the lead is lost.

        Watched from beside: a round may wait for Prefect for long, and must end when another
        steward leads. What it does at that very moment is safe to do twice.
        """
        steadiness = Steadiness()
        rounds = asyncio.create_task(self._make_rounds(steadiness))
        try:
            while not rounds.done() and await self._hold():
                steadiness.note_answer()
                await asyncio.wait({rounds}, timeout=_BEAT_S)
        finally:
            rounds.cancel()
            (ended,) = await asyncio.gather(rounds, return_exceptions=True)
        if isinstance(ended, Exception):
            _LOG.error("rounds broke off", exc_info=ended)
        _LOG.warning("the lead is lost")

    async def _make_rounds(self, steadiness: Steadiness) -> None:
        rounds = Rounds(self.client, self.database, self.settings, steadiness)
        while True:
            report = await rounds.make_round()
            try:
                await asyncio.to_thread(self._note, report)
            except TenantryError as error:
                _LOG.warning("the round was not noted: %s", error.message)
            await asyncio.sleep(self.settings.reconcile_interval_s)

    async def _hold(self) -> bool:
        try:
            return await asyncio.to_thread(self.leadership.hold)
        except TenantryError as error:
            _LOG.warning("no lead: %s %s", error.message, error.hint)
            return False

    def _note(self, report: RoundReport) -> None:
        with self.database.for_platform() as session:
            note_round(session, epoch=self.leadership.epoch, report=report)


async def serve(settings: Settings) -> None:
    """Be the steward, or stand by for the one that is, until cancelled."""
    database = open_database_of(settings)
    name = f"{socket.gethostname()} {os.getpid()}"
    leadership = Leadership(database.platform, name=name)
    try:
        await wait_for_prefect()
        # Each round asks again anyway. Prefect's client would wait for a minute between its own
        # tries, and after an outage the steward with it.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            async with get_client(httpx_settings={"timeout": _PREFECT_TIMEOUT_S}) as client:
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
