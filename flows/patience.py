"""Wait for a Prefect that is away, or whose own database is: what agents did is not lost for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from flows.publish import wait_for_prefect

T = TypeVar("T")
_LOG = logging.getLogger("tenantry.prefect")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
# With those pauses some minutes: longer than a database takes to restart. Whoever answers so for
# longer does not like what it is asked.
_MOST_BROKEN_ANSWERS = 40


async def keep_asking(act: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Ask Prefect until it answers; `act` must be safe to repeat, as an answer may be lost.

    Prefect's client asks again by itself for a minute where a connection breaks, and not at all
    where its server answers 500, as it does while its own database restarts.

    Args:
        what: is not done meanwhile, for the log: "run … not started".

    Raises:
        HTTPStatusError: Prefect refuses it, or has answered with errors of its own for minutes.
    """
    pause_s, broken = _FIRST_PAUSE_S, 0
    while True:
        try:
            return await act()
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError):
                broken += 1
                if not error.response.is_server_error or broken > _MOST_BROKEN_ANSWERS:
                    raise
            _LOG.warning("%s: Prefect answers with %s", what, type(error).__name__)
        await asyncio.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
        await wait_for_prefect()
