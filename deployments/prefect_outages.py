"""Have a worker's calls of Prefect wait for a server that is away, instead of giving up.

Prefect's client tries six times, at most half a minute apart, and then breaks the run off. Runs
under way need not end because a server restarts, and shall go on at once when it is back.
"""

import asyncio
import logging
import time

import httpx
from prefect.client.orchestration import PrefectClient

from flows.publish import wait_for_prefect

_LOG = logging.getLogger("tenantry.worker")
# What Prefect's server, or a proxy before it, says while its database or itself is away. The
# first may be an error of its own, too: then it is ready and says so again.
_AWAY = frozenset({500, 502, 503})
_TRIES = 4
_PAUSE_S = 0.5


class PatientTransport(httpx.AsyncBaseTransport):
    """Sends requests again that met no server, as long as it takes.

    Safe to repeat: what makes a run has a key, and a state that was stored is recognized by its
    transition. What broke off in the middle is left to Prefect's client, which knows it as well.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._look = asyncio.Lock()
        self._seen_at = float("-inf")
        self._is_over = asyncio.Event()

    def stop_waiting(self) -> None:
        """Let calls fail again: this process is about to end."""
        self._is_over.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and wait for the server if it is away."""
        refused = 0
        while True:
            asked_at = time.monotonic()
            try:
                response = await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if self._is_over.is_set():
                    raise
                said = type(error).__name__
            else:
                if response.status_code not in _AWAY or self._is_over.is_set():
                    return response
                refused += 1
                if refused == _TRIES:
                    return response
                said = str(response.status_code)
                await response.aclose()
            _LOG.info("Prefect is away (%s): %s waits", said, request.url.path)
            await self._wait_until_ready(since=asked_at)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _wait_until_ready(self, *, since: float) -> None:
        await asyncio.sleep(_PAUSE_S)
        # One of all that wait looks, and what it sees holds for the others.
        async with self._look:
            if self._seen_at > since:
                return
            looks = [asyncio.ensure_future(w) for w in (wait_for_prefect(), self._is_over.wait())]
            try:
                await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for look in looks:
                    look.cancel()
            self._seen_at = time.monotonic()


def wait_out_outages(client: PrefectClient) -> PatientTransport:
    """Make a client patient, until it is told to stop waiting."""
    http = client._client  # pyright: ignore[reportPrivateUsage] - Prefect offers no other way
    # Set afterwards, as Prefect does with its own retries: a transport that is given at the start
    # has none of its certificates.
    patient = PatientTransport(http._transport)  # pyright: ignore[reportPrivateUsage]
    http._transport = patient  # pyright: ignore[reportPrivateUsage]
    return patient
