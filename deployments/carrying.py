"""Carry out runs in this process: start them in Prefect, run their flows, cancel, drain."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.objects import StateType as PrefectStateType
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Completed

from deployments.run_leases import break_off, is_run_fenced, let_go, sign_off, spare
from domain.clock import utc_now
from domain.errors import TenantryError
from domain.executions import ExecutionStatus, LeaseLost, Trigger
from domain.ids import ExecutionId, RunId
from domain.runs import ClaimedRun, Run
from flows.adopt import HeldElsewhere, Queued, Refusal, adopt_flow_run, queue_overtaken
from flows.carried import CarriedRun, carried_out, find_carried
from flows.compiler import CompiledWorkflow
from flows.engine import run_handed_over, run_made
from flows.fencing import forget_lease, note_lease
from flows.launch import launch, note_flow_run
from flows.loading import load_workflow
from flows.mirror import apply, to_run_state
from flows.naming import run_name, tags_of
from flows.opening import OpenedRun, open_run
from flows.platform import PLATFORM_FLOWS
from flows.publish import wait_for_prefect
from flows.runtime import Runtime
from persistence.driver_errors import DatabaseUnreachable
from persistence.patience import keep_trying

T = TypeVar("T")
_LOG = logging.getLogger("tenantry.worker")
_PREFECT_PAUSE_S = 0.5
_HELD_PAUSE_S = 1.0
# Schedules fire once a minute at most: what is later than this may be overtaken by the next one.
_LATE = timedelta(seconds=30)
_CATCHING_UP_PART = 4


@dataclass(slots=True)
class LiveRun:
    """A run under way in this process."""

    run: Run
    size: int = 1
    flow_run_id: UUID | None = None
    engine: "asyncio.Task[None] | None" = None
    stopping: State[Any] | None = None
    """What it shall end as in Prefect, once somebody has stopped it."""
    ended: dict[ExecutionId, ExecutionStatus] = field(
        default_factory=dict[ExecutionId, ExecutionStatus]
    )
    """What was called off since it was claimed: no agent is asked for it."""


@dataclass(slots=True)
class Carrier:
    """The runs of one worker process: at most `limit`, of about `executions`, at a time."""

    client: PrefectClient
    runtime: Runtime
    worker: str
    lease_s: float
    limit: int
    executions: int
    draining: bool = False
    is_catching_up: bool = False
    """Prefect has more overtaken runs than this worker has places for. Each that is queued costs a
    call, and spares a run of its own: they come before the runs that carry what is queued."""
    live: dict[RunId, LiveRun] = field(default_factory=dict[RunId, LiveRun])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def free_slots(self) -> int:
        """How many more runs this process takes."""
        limit = max(1, self.limit // _CATCHING_UP_PART) if self.is_catching_up else self.limit
        return 0 if self.draining else max(0, limit - len(self.live))

    @property
    def agent_types(self) -> tuple[str, ...]:
        """What this process carries."""
        return self.runtime.registry.types()

    @property
    def free_executions(self) -> int:
        """How many more executions this process takes, if they come in batches."""
        return self.executions - sum(live.size for live in self.live.values())

    async def carry_handed_over(self, flow_run: FlowRun) -> None:
        """Carry out a flow run that Prefect handed over, or end it there with the reason."""
        adopted = await self._adopt(flow_run)
        if isinstance(adopted, Refusal) and adopted.is_unknown:
            platform_flow = await self._find_platform_flow(flow_run)
            if platform_flow is not None:
                engine = run_flow(platform_flow, flow_run=flow_run, return_type="state")
                await cast(Awaitable[object], engine)
                return
        if isinstance(adopted, Refusal):
            _LOG.warning("flow run %s refused: %s", flow_run.id, adopted.message)
            state = State(type=PrefectStateType(adopted.state.value), message=adopted.message)
            await self.client.set_flow_run_state(flow_run.id, state, force=True)
        elif isinstance(adopted, Queued):
            if not flow_run.auto_scheduled:
                tags = tags_of(flow_run, Trigger.PREFECT_UI)
                await self.client.update_flow_run(flow_run.id, tags=tags)
            await self._tell_queued(flow_run, adopted)
        else:
            await self.carry(adopted, flow_run)

    async def queue_overtaken(self, flow_run: FlowRun) -> bool:
        """Queue a schedule's run that is as good as overtaken by the next one; say whether it was.

        Asked before Prefect is told anything: several workers may ask for the same one.
        """
        if not may_be_overtaken(flow_run):
            return False
        queued = await asyncio.to_thread(
            keep_trying, lambda: queue_overtaken(self.runtime.database, flow_run)
        )
        if queued is None:
            return False
        await self._tell_queued(flow_run, queued)
        return True

    async def _tell_queued(self, flow_run: FlowRun, queued: Queued) -> None:
        message = f"{queued.reason}: it waits in Tenantry as {queued.execution_id}."
        state = Completed(name="Queued", message=message)
        await self.client.set_flow_run_state(flow_run.id, state, force=True)

    async def _find_platform_flow(self, flow_run: FlowRun) -> Flow[..., Any] | None:
        if flow_run.deployment_id is None:
            return None
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        return PLATFORM_FLOWS.get(deployment.entrypoint or "")

    async def _adopt(self, flow_run: FlowRun) -> ClaimedRun | Refusal | Queued:
        while True:
            adopted = await asyncio.to_thread(
                keep_trying,
                lambda: adopt_flow_run(
                    self.runtime.database,
                    flow_run,
                    worker=self.worker,
                    lease_s=self.lease_s,
                    agent_types=self.agent_types,
                ),
            )
            if not isinstance(adopted, HeldElsewhere):
                return adopted
            # It was resumed at once, or its worker was lost while it left it: its lease ends.
            await asyncio.sleep(_HELD_PAUSE_S)

    async def start(self, claimed: ClaimedRun) -> None:
        """Create a claimed run's flow run in Prefect and carry it out.

        A worker that dies here leaves the run to its lease: when that ends, the steward gives
        the executions back to the queue.
        """
        self._add(claimed)
        # Read while Prefect makes the run: what is claimed changes only by being called off.
        prepared = self._begin_preparing(claimed.run)
        try:
            flow_run = await self._launch(claimed)
            noted = self._begin(note_flow_run(self.runtime.database, claimed.run, flow_run.id))
            await self._carry(claimed, flow_run, prepared, noted=noted)
        except LeaseLost:
            _LOG.warning("run %s was taken by another worker", claimed.run.id)
        except Exception:
            _LOG.exception("run %s broke off", claimed.run.id)
        finally:
            prepared.cancel()
            self._remove(claimed.run)

    async def _launch(self, claimed: ClaimedRun) -> FlowRun:
        """Start a run in Prefect; wait for what is away, with the lease kept.

        Asked again, Prefect gives the flow run that it made at the first call, if it made one.
        """
        while True:
            try:
                return await launch(self.client, self.runtime.database, claimed)
            except httpx.HTTPError as error:
                if isinstance(error, httpx.HTTPStatusError) and not error.response.is_server_error:
                    raise
                kind = type(error).__name__
                _LOG.warning("Prefect did not start run %s: %s", claimed.run.id, kind)
            except DatabaseUnreachable:
                _LOG.warning("run %s not started: the database is away", claimed.run.id)
            await asyncio.sleep(_PREFECT_PAUSE_S)
            await wait_for_prefect()

    async def carry(self, claimed: ClaimedRun, flow_run: FlowRun) -> None:
        """Run a flow to its end in this process, and see that its end is mirrored."""
        prepared = self._begin_preparing(claimed.run)
        try:
            await self._carry(claimed, flow_run, prepared)
        except LeaseLost:
            _LOG.warning("run %s was taken by another worker", claimed.run.id)
        finally:
            prepared.cancel()

    async def _carry(
        self,
        claimed: ClaimedRun,
        flow_run: FlowRun,
        prepared: "asyncio.Task[_Prepared]",
        *,
        noted: "asyncio.Task[None] | None" = None,
    ) -> None:
        live = self._add(claimed)
        live.flow_run_id = flow_run.id
        try:
            note_lease(flow_run.id, claimed.run.lease_token)
            async with carried_out(flow_run.id, claimed.run, ended=live.ended) as carried:
                self._name(claimed, flow_run, carried)
                live.engine = asyncio.create_task(
                    self._run_engine(carried, flow_run, prepared, noted=noted)
                )
                try:
                    await live.engine
                except asyncio.CancelledError:
                    if live.stopping is None:
                        raise
                    await self._finish_stopped(claimed.run, flow_run.id, live.stopping)
        finally:
            forget_lease(flow_run.id)
            self._remove(claimed.run)

    def _name(self, claimed: ClaimedRun, flow_run: FlowRun, carried: CarriedRun) -> None:
        """Tell Prefect a run's name and, in the same call, the version of its flow."""
        name = run_name(claimed.run.id, claimed.execution_ids)
        if flow_run.name == name:
            return
        version = str(claimed.run.workflow_version)
        tags = tags_of(flow_run, claimed.trigger)

        async def tell() -> None:
            await self.client.update_flow_run(
                flow_run.id, name=name, flow_version=version, tags=tags
            )

        carried.has_version = True
        carried.do_beside(tell())

    def stop(self, run_id: RunId, state: State[Any]) -> None:
        """Stop a run, which then ends in `state` in Prefect; stopping it again changes nothing."""
        live = self.live.get(run_id)
        if live is not None and live.engine is not None and live.stopping is None:
            live.stopping = state
            carried = find_carried(live.flow_run_id) if live.flow_run_id else None
            if carried is not None:
                carried.stopping = state
            live.engine.cancel()

    def suspend(self, run_id: RunId, state: State) -> None:
        """Have a run that somebody suspends in Prefect stop before its next agent."""
        live = self.live.get(run_id)
        carried = find_carried(live.flow_run_id) if live and live.flow_run_id else None
        if carried is not None and carried.suspend is not None:
            carried.suspend(state)

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, give runs `grace_s` seconds to end, then hand the others back.

        A run that is broken off ends as Crashed in Prefect, which returns its executions to the
        queue at once.
        """
        self.draining = True
        try:
            await asyncio.to_thread(sign_off, self.runtime, self.worker)
        except TenantryError as error:
            # It counts as gone when its time is over.
            _LOG.warning("not signed off: %s", error.message)
        engines = [live.engine for live in self.live.values() if live.engine is not None]
        if engines:
            _, late = await asyncio.wait(engines, timeout=grace_s)
            if late:
                await asyncio.to_thread(spare, self.runtime, self.worker)
            for engine in late:
                engine.cancel()
            if late:
                await asyncio.wait(late, timeout=10)
        while self.live:
            self.changed.clear()
            try:
                async with asyncio.timeout(10):
                    await self.changed.wait()
            except TimeoutError:
                _LOG.warning("stopping with %d runs left to their leases", len(self.live))
                return

    async def _run_engine(
        self,
        carried: CarriedRun,
        flow_run: FlowRun,
        prepared: "asyncio.Task[_Prepared]",
        *,
        noted: "asyncio.Task[None] | None",
    ) -> None:
        run = carried.run
        try:
            compiled, carried.opened = await prepared
        except LeaseLost:
            raise
        except Exception as error:
            await asyncio.to_thread(keep_trying, partial(break_off, self.runtime, run, error))
            raise
        carried.definition = compiled.definition
        if noted is not None:
            # Before the engine says anything: from whom the run was taken, Prefect hears nothing.
            await noted
        try:
            if noted is None and (flow_run.run_count or not flow_run.auto_scheduled):
                # Somebody may have given it settings of its own, or has it go on where it was.
                await run_handed_over(compiled.flow, flow_run)
            else:
                await run_made(self.client, compiled.flow, flow_run, carried)
        except (Abort, Pause) as signal:
            # Prefect refused to start it, or it was paused: its states tell the mirror.
            _LOG.info("run %s was not carried to its end: %s", run.id, type(signal).__name__)
            latest = await self._mirror_history(run, flow_run.id)
            if latest is PrefectStateType.CANCELLING:
                # Cancelled before it ran: nobody else would ever end it.
                await self._finish_stopped(run, flow_run.id, Cancelled())
            elif isinstance(signal, Pause):
                # Whoever resumes it need not wait for the lease to end.
                await asyncio.to_thread(keep_trying, lambda: let_go(self.runtime, run))

    def _begin_preparing(self, run: Run) -> "asyncio.Task[_Prepared]":
        return self._begin(asyncio.to_thread(keep_trying, lambda: _prepare(self.runtime, run)))

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        # A run that breaks off leaves this behind: whatever it says then is no news.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _finish_stopped(self, run: Run, flow_run_id: UUID, state: State[Any]) -> None:
        if await asyncio.to_thread(keep_trying, lambda: is_run_fenced(self.runtime, run)):
            # This process was frozen meanwhile, and Prefect would take its word.
            _LOG.warning("run %s was taken from this worker", run.id)
            return
        # The engine has written Crashed over Cancelling; what was asked for is the end.
        await self.client.set_flow_run_state(flow_run_id, state, force=True)
        await self._mirror_history(run, flow_run_id)

    async def _mirror_history(self, run: Run, flow_run_id: UUID) -> PrefectStateType | None:
        history = await self.client.read_flow_run_states(flow_run_id)
        try:
            await asyncio.to_thread(
                apply,
                self.runtime.database,
                run,
                [to_run_state(state) for state in history],
                max_attempts=self.runtime.max_attempts,
                lease=run.lease_token,
            )
        except LeaseLost:
            _LOG.warning("run %s was taken from this worker", run.id)
            return None
        return max(history, key=lambda state: state.timestamp).type if history else None

    def _add(self, claimed: ClaimedRun) -> LiveRun:
        run, size = claimed.run, len(claimed.execution_ids)
        return self.live.setdefault(run.id, LiveRun(run, size))

    def _remove(self, run: Run) -> None:
        self.live.pop(run.id, None)
        self.changed.set()


_Prepared = tuple[CompiledWorkflow, OpenedRun]


def may_be_overtaken(flow_run: FlowRun) -> bool:
    """Say whether a schedule's run is so late that its next time may be due as well."""
    due = flow_run.expected_start_time
    return due is not None and flow_run.auto_scheduled and utc_now() - due >= _LATE


def _prepare(runtime: Runtime, run: Run) -> _Prepared:
    compiled = load_workflow(runtime, run.workflow_id, version=run.workflow_version)
    return compiled, open_run(runtime, run, compiled.definition, held=True)
