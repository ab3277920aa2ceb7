"""The worker: claims executions, and carries out runs, warm, in its own process.

A Prefect worker type, so that `prefect worker start --pool tenantry --type tenantry` runs it as
well as `tenantry worker` does: Prefect's part hands over the runs that schedules and the UI made,
ours takes executions from the queue.
"""

import asyncio
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
)

from agents.connectors.reader import start_reader
from agents.registry import AgentRegistry, default_registry
from deployments.calling_off import watch_called_off
from deployments.cancelling import watch_stopped
from deployments.carrying import Carrier, may_be_overtaken
from deployments.intake import listen_for_work, take_work
from deployments.isolation import keep_isolated, take_isolated
from deployments.leases import keep_leases
from deployments.prefect_outages import PatientTransport, wait_out_outages
from deployments.settings import Settings, load_settings
from deployments.stopping import run_aside
from deployments.wiring import open_database_of
from domain.addresses import AddressRules, read_endpoints, read_networks
from domain.queue_shares import Rules
from flows.naming import POOL
from flows.prefect_logs import quiet_engine_logs
from flows.publish import ensure_pool, wait_for_prefect
from flows.runtime import Runtime, set_runtime
from flows.task_events import spare_prefect_events

_LOG = logging.getLogger("tenantry.worker")
# Requests that come at once come within this time; it is what a batch of one that comes alone waits
# for others.
_OPENING_S = 0.25
# Of its places for runs that Prefect made a worker has so many parts free before it asks for more,
# and waits so long at least.
_PLACES_PART = 4
_ASK_AGAIN_S = 0.2
_LONGEST_WAIT_S = 30.0
_MOST_ASKED = 200
_QUEUED_AT_A_TIME = 8
# How long a thread of Python may go on while others wait. The rows of large runs are worked on in
# threads; at the default of 5 ms each short step of a small run may wait for several of them.
_SWITCH_S = 0.0005


class TenantryJobConfiguration(BaseJobConfiguration):
    """A run needs nothing from the pool: all its settings are in our tables."""


class TenantryVariables(BaseVariables):
    """The pool's form in Prefect's UI: empty but for Prefect's own fields."""


class TenantryResult(BaseWorkerResult):
    """A run was carried out, however it ended: its states say how."""


class TenantryWorker(BaseWorker[TenantryJobConfiguration, TenantryVariables, TenantryResult]):
    """Runs tenants' workflows in this process, several at a time."""

    type = POOL
    job_configuration = TenantryJobConfiguration
    job_configuration_variables = TenantryVariables
    hooks: ClassVar[bool] = True
    """Whether state hooks write at once; without them the steward does, seconds later."""
    _description = "Runs the workflows of Tenantry's organizations, warm, in its own process."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not kwargs.get("name"):
            kwargs["name"] = worker_name(os.getpid())
        # A run handed over early would hold a slot, and a lease, until its time has come.
        if kwargs.get("prefetch_seconds") is None:
            kwargs["prefetch_seconds"] = 0
        super().__init__(*args, **kwargs)
        self._loops: list[asyncio.Task[None]] = []
        self._carrier: Carrier | None = None
        self._transport: PatientTransport | None = None
        self.isolation_argv: Sequence[str] | None = None
        """How a process of this kind is started for executions that need one of their own."""
        if type(self) is TenantryWorker:
            self.isolation_argv = (sys.executable, "-m", "deployments.worker")
        self._is_isolated = False
        self._has_more = False
        self._place_freed = asyncio.Event()

    @property
    def carrier(self) -> Carrier:
        """The runs that this worker carries out now. There is one between setup and teardown."""
        if self._carrier is None:
            raise RuntimeError("the worker is not set up")
        return self._carrier

    def make_registry(self) -> AgentRegistry:
        """Make the agent types that this worker knows; a subclass may know more."""
        return default_registry()

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Work until it is cancelled or SIGTERM comes, then drain.

        Out of reach of the handler of Prefect's engine, which raises in the middle of whatever the
        main thread does while a flow runs there; and without that of Prefect's command, which
        makes a SIGINT of it, that who was started in the background of a script ignores.
        """
        serve = partial(super().start, *args, **kwargs)
        if threading.current_thread() is threading.main_thread():
            await run_aside(serve)
        else:
            await serve()

    async def setup(self) -> None:
        """Connect to the database and to Prefect, then start to take work."""
        settings = load_settings(os.environ)
        # Prefect's own command may give none, and then Prefect's part would know no bound.
        self._limit = limit = self._limit or settings.worker_limit
        self._is_isolated = settings.worker_isolated
        sys.setswitchinterval(_SWITCH_S)
        database = open_database_of(settings, pool_size=settings.worker_limit + 4)
        runtime = Runtime(
            database=database,
            registry=self.make_registry(),
            data_root=settings.data_root,
            address_rules=AddressRules(
                allowed=read_networks(settings.connector_networks or ""),
                refused=read_endpoints(settings.connector_refused or ""),
            ),
            max_attempts=settings.max_attempts,
            execution_url=settings.execution_url,
            hooks=self.hooks,
        )
        set_runtime(runtime)
        start_reader()
        spare_prefect_events()
        quiet_engine_logs()
        # One client for all runs: each of its own would cost a version check and a connection.
        await wait_for_prefect()
        context = await self._exit_stack.enter_async_context(AsyncClientContext.get_or_create())
        self._transport = wait_out_outages(context.client)
        # And for the little that the engine asks without awaiting it.
        self._exit_stack.enter_context(SyncClientContext.get_or_create())
        await ensure_pool(context.client)
        await super().setup()
        # The default is made for as many threads as cores, and ours wait for the database.
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(limit + 8, thread_name_prefix="worker")
        )
        self._carrier = Carrier(
            self.client,
            runtime,
            worker=self.name,
            lease_s=settings.lease_s,
            limit=limit,
            executions=settings.worker_executions,
        )
        self._start_loops(settings, self._carrier)
        # Prefect's code and ours stay for good; to look through them all takes a tenth of a second,
        # in which nothing else is done.
        gc.collect()
        gc.freeze()

    async def teardown(self, *exc_info: Any) -> None:
        """Stop taking work, let runs finish, hand back the others."""
        # Whoever stops a worker cancels it: without a shield the first wait would end the drain.
        with anyio.CancelScope(shield=True):
            await self._wind_down()
        await super().teardown(*exc_info)
        if self._carrier is not None:
            self._carrier.runtime.database.close()

    async def _wind_down(self) -> None:
        if self._carrier is not None:
            await self._carrier.drain(load_settings(os.environ).drain_grace_s)
        if self._transport is not None:
            self._transport.stop_waiting()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: TenantryJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> TenantryResult:
        """Carry out a run that Prefect handed over: a schedule's, or the Run button's."""
        place = f"{socket.gethostname()}:{os.getpid()}"
        if task_status is not None:
            task_status.started(place)
        await self.carrier.carry_handed_over(flow_run)
        return TenantryResult(identifier=place, status_code=0)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Take what the pool has, and go on as places get free while it has more.

        Returns:
            What was taken last.
        """
        taken = await super().get_and_submit_flow_runs()
        while self._has_more and not self.carrier.draining:
            await asyncio.sleep(_ASK_AGAIN_S)
            if not self.carrier.is_catching_up:
                await self._wait_for_places()
            taken = await super().get_and_submit_flow_runs()
        return taken

    async def _wait_for_places(self) -> None:
        # A question costs Prefect about as much as a state: not one for each place.
        enough = max(1, int(self.limiter.total_tokens) // _PLACES_PART)
        # Not for ever: Prefect's health check wants to see that the worker still asks.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT_S):
                while self.limiter.available_tokens < enough:
                    self._place_freed.clear()
                    await self._place_freed.wait()

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """Ask the pool for as many runs as there is room for.

        Prefect's own way reads all that are due, up to two hundred, each time, and waits for the
        next time to take more. While there are more that are overtaken, this one queues as many.
        """
        if self._is_isolated:
            return []
        places = int(self.limiter.available_tokens)
        is_catching_up = self.carrier.is_catching_up
        self._has_more = places == 0
        if places == 0 and not is_catching_up:
            return []
        under_way = set(self._submitting_flow_run_ids)
        asked = min(_MOST_ASKED, _MOST_ASKED if is_catching_up else places + len(under_way))
        found = await self._ask_pool(asked)
        new = [each for each in found if each.flow_run.id not in under_way]
        self._has_more = len(found) >= asked
        late = [each.flow_run for each in new if may_be_overtaken(each.flow_run)]
        self.carrier.is_catching_up = self._has_more and bool(late)
        if not self.carrier.is_catching_up:
            return new
        queued = await self._queue_overtaken(late)
        # With none of them queued, as when the organization's queue is full, they wait for places.
        self.carrier.is_catching_up = bool(queued)
        return [each for each in new if each.flow_run.id not in queued]

    async def _ask_pool(self, count: int) -> list[WorkerFlowRunResponse]:
        try:
            response = await self.client.request(
                "POST",
                "/work_pools/{name}/get_scheduled_flow_runs",
                path_params={"name": self._work_pool_name},
                json={
                    "work_queue_names": sorted(self._work_queues),
                    "scheduled_before": datetime.now(UTC).isoformat(),
                    "limit": count,
                },
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            return []  # the pool is made again when the worker says next that it lives
        return WorkerFlowRunResponse.model_validate_list(response.json())

    async def _queue_overtaken(self, flow_runs: Sequence[FlowRun]) -> set[UUID]:
        """Queue what is overtaken of these; return what was."""
        places = asyncio.Semaphore(_QUEUED_AT_A_TIME)
        queued: set[UUID] = set()

        async def queue(flow_run: FlowRun) -> None:
            async with places:
                if not self.carrier.draining and await self.carrier.queue_overtaken(flow_run):
                    queued.add(flow_run.id)

        done = await asyncio.gather(*map(queue, flow_runs), return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                # The pool gives it out again.
                _LOG.error("a late run was not queued: %s", type(error).__name__, exc_info=error)
        return queued

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Carry out a run that the pool gave out, once Prefect agrees that it is this worker's.

        Prefect's own way reads deployment, flow and pool for a configuration of the process that
        it would start, and writes labels and a process id: a dozen calls for each run, where this
        process needs to ask once.
        """
        try:
            if await self.carrier.queue_overtaken(flow_run):
                return
            is_ours = await self._propose_pending_state(flow_run)
            # From here on the pool gives it out no more.
            self._forget_submitting(flow_run)
            if is_ours:
                await self.carrier.carry_handed_over(flow_run)
        except Exception:
            # The worker must go on with its other runs. What becomes of this one the steward sees
            # to: it may have ended already, and Prefect would take a crash over that.
            _LOG.exception("flow run %s broke off", flow_run.id)
        finally:
            self._forget_submitting(flow_run)
            self._release_limit_slot(flow_run.id)
            self._place_freed.set()

    def _forget_submitting(self, flow_run: FlowRun) -> None:
        self._submitting_flow_run_ids.discard(flow_run.id)
        if self._cancelling_observer is not None:
            self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)

    def _start_loops(self, settings: Settings, carrier: Carrier) -> None:
        always: tuple[Coroutine[Any, Any, None], ...] = (
            keep_leases(carrier, lease_s=settings.lease_s),
            watch_stopped(carrier),
            watch_called_off(carrier),
        )
        if self._is_isolated:
            loops = (*always, take_isolated(carrier))
        else:
            loops = (*always, *self._make_queue_loops(settings, carrier))
        self._loops = [asyncio.create_task(loop) for loop in loops]

    def _make_queue_loops(
        self, settings: Settings, carrier: Carrier
    ) -> Iterable[Coroutine[Any, Any, None]]:
        yield (
            take_work(
                carrier,
                poll_s=settings.poll_interval_s,
                rules=Rules(
                    ageing_s=settings.ageing_s,
                    max_batch=settings.max_batch,
                    opening_s=_OPENING_S,
                    is_in_step=True,
                ),
            )
        )
        yield listen_for_work(carrier)
        if self.isolation_argv is not None:
            yield keep_isolated(carrier, self.isolation_argv, name_of=worker_name)


def worker_name(pid: int) -> str:
    """Name the worker of one of this machine's processes: unique among those that run."""
    return f"tenantry {socket.gethostname()} {pid}"
