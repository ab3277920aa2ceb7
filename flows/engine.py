"""Prefect's engine in a process that has made the run itself: what it knows is not asked again.

Each run costs the engine two calls before its first agent: it writes the flow's version and retry
policy on the run, and it reads the run anew once it is Running. Here the first is sent when the
run has ended, and the second is answered from what the state's own answer said.
"""

from collections.abc import Awaitable
from functools import partial
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import AsyncFlowRunEngine, run_flow

from flows.carried import CarriedRun


class _EngineClient(PrefectClient):
    """The process's client, over the same connections, for the engine of one run."""

    def __init__(self, shared: PrefectClient, carried: CarriedRun, made: FlowRun) -> None:
        self.__dict__.update(shared.__dict__)
        self._shared, self._carried, self._made = shared, carried, made
        self._engine_run = made

    def follow(self, flow_run: FlowRun) -> None:
        """Take the states from the object that the engine keeps them on."""
        self._engine_run = flow_run

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        """Give the run as it was made, in the state that Prefect has accepted since."""
        state = self._engine_run.state
        if flow_run_id != self._made.id or state is None or not state.is_running():
            return await self._shared.read_flow_run(flow_run_id)
        return self._made.model_copy(
            update={
                "state": state,
                "state_id": state.id,
                "state_type": state.type,
                "state_name": state.name,
                "start_time": self._made.start_time or state.timestamp,
                # The server counts a run at its Running, as of which this is.
                "run_count": self._made.run_count + 1,
            }
        )

    async def update_flow_run(
        self, flow_run_id: UUID, *args: Any, **changes: Any
    ) -> httpx.Response:
        """Send the flow's version when the run has ended; the retry policy is Prefect's default."""
        if self._carried.has_version:
            return httpx.Response(httpx.codes.NO_CONTENT)
        changes.pop("empirical_policy", None)
        send = partial(self._shared.update_flow_run, flow_run_id, *args, **changes)

        async def later() -> None:
            await send()

        self._carried.do_last(later)
        return httpx.Response(httpx.codes.NO_CONTENT)


class _Engine(AsyncFlowRunEngine[..., Any]):
    """Prefect's engine, with a client that spares it what is known."""

    own: _EngineClient | None = None

    @property
    def client(self) -> PrefectClient:
        """The client that it calls."""
        if self.own is None or self.flow_run is None:
            return super().client
        self.own.follow(self.flow_run)
        return self.own

    @property
    def heartbeat_seconds(self) -> int | None:
        """Send none: the lease on our row says whether the worker lives, and the steward looks."""
        return None


async def run_made(
    client: PrefectClient,
    flow: Flow[..., Any],
    flow_run: FlowRun,
    carried: CarriedRun,
) -> None:
    """Run a flow for a run that this process has just made in Prefect, to its final state.

    Raises:
        Abort, Pause: Prefect refused to start it, or somebody has suspended it.
    """
    parameters = dict(flow_run.parameters)
    engine = _Engine(flow=flow, parameters=parameters, flow_run=_unobserved(flow_run))
    engine.own = _EngineClient(client, carried, flow_run)
    async with engine.start():
        while engine.is_running():
            async with engine.run_context():
                await engine.call_flow_fn()


async def run_handed_over(flow: Flow[..., Any], flow_run: FlowRun) -> None:
    """Run a flow for a run that Prefect has handed over, to its final state.

    Raises:
        Abort, Pause: Prefect refused to start it, or somebody has suspended it.
    """
    # Typed for flows of every kind: an asynchronous one gives what can be awaited.
    engine = run_flow(flow, flow_run=_unobserved(flow_run), return_type="state")
    await cast(Awaitable[object], engine)


def _unobserved(flow_run: FlowRun) -> FlowRun:
    # For a run of a deployment the engine opens a thread, a client and an event stream, to hear
    # of its suspension, and stops this process's loop meanwhile. `deployments/cancelling.py` asks
    # for all runs at once instead. Flows see the deployment: once Running, the run is read anew.
    return flow_run.model_copy(update={"deployment_id": None})
