"""See which of this process's runs somebody cancels or suspends in Prefect."""

import asyncio
import logging

import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from deployments.carrying import Carrier

_LOG = logging.getLogger("tenantry.worker")
_INTERVAL_S = 2.0
_PAGE = 200


async def watch_stopped(carrier: Carrier) -> None:
    """Ask Prefect for live runs that shall stop, and stop them; runs until it is cancelled.

    Asking, not listening: Prefect's event stream may end without a word.
    """
    while True:
        await asyncio.sleep(_INTERVAL_S)
        by_flow_run = {
            live.flow_run_id: run_id for run_id, live in carrier.live.items() if live.flow_run_id
        }
        ids = list(by_flow_run)
        try:
            for start in range(0, len(ids), _PAGE):
                runs = await carrier.client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(
                        id=FlowRunFilterId(any_=ids[start : start + _PAGE]),
                        state=FlowRunFilterState(
                            type=FlowRunFilterStateType(
                                any_=[StateType.CANCELLING, StateType.PAUSED]
                            )
                        ),
                    ),
                    limit=_PAGE,
                )
                for run in runs:
                    if run.state is not None and run.state.is_paused():
                        carrier.suspend(by_flow_run[run.id], run.state)
                    else:
                        state = Cancelled(message="Cancelled in Prefect.")
                        carrier.stop(by_flow_run[run.id], state)
        except httpx.HTTPError as error:
            _LOG.warning("Prefect did not say what shall stop: %s", type(error).__name__)
