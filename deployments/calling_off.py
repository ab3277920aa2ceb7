"""End executions that were cancelled, or whose deadline passed, while this process runs them."""

import asyncio
import logging

import httpx
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from deployments.carrying import Carrier, LiveRun
from domain.errors import TenantryError
from domain.executions import LeaseLost
from domain.ids import RunId
from flows.agent_task import find_open_book
from flows.calling_off import call_off, ended_state
from persistence.called_off import find_runs_with_called_off

_LOG = logging.getLogger("tenantry.worker")
_INTERVAL_S = 1.0
_PREFECT_TIMEOUT_S = 3.0


async def watch_called_off(carrier: Carrier) -> None:
    """Ask once a second what shall not go on, and end it; runs until it is cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_S)
        if not carrier.live:
            continue
        try:
            for run_id in await asyncio.to_thread(_find, carrier, list(carrier.live)):
                live = carrier.live.get(run_id)
                if live is not None:
                    await _call_off(carrier, live)
        except TenantryError as error:
            _LOG.warning("not seen what is called off: %s", error.message)
        except Exception:
            # It must go on: a worker without it would run what nobody wants any more.
            _LOG.exception("calling off failed")


async def _call_off(carrier: Carrier, live: LiveRun) -> None:
    """End executions in our tables first, so that they end whether Prefect answers or not."""
    run = live.run
    try:
        ended = await asyncio.to_thread(call_off, carrier.runtime.database, run)
    except LeaseLost:
        return
    # What was read of the run before it begins may still have them.
    live.ended.update(ended)
    book = find_open_book(run.id)
    if book is None:
        # It has not begun, and will not ask for them; or it has ended.
        return
    book.drop(ended)
    if book.executions:
        return
    state = ended_state(book.called_off.values())
    if state.is_cancelled() and live.flow_run_id is not None:
        await _say_cancelling(carrier, live)
    carrier.stop(run.id, state)


async def _say_cancelling(carrier: Carrier, live: LiveRun) -> None:
    # The engine ends a run that is stopped as Crashed; after Cancelling everybody can tell why.
    if live.flow_run_id is None:
        return
    try:
        async with asyncio.timeout(_PREFECT_TIMEOUT_S):
            await carrier.client.set_flow_run_state(live.flow_run_id, Cancelling())
    except (TimeoutError, httpx.HTTPError, ObjectNotFound) as error:
        _LOG.warning("Prefect was not told to cancel %s: %s", live.run.id, type(error).__name__)


def _find(carrier: Carrier, ids: list[RunId]) -> list[RunId]:
    with carrier.runtime.database.for_platform() as session:
        return find_runs_with_called_off(session, ids)
