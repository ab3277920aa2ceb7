"""End the runs of workers that are lost, and those that were made and never started."""

import asyncio
import logging
from datetime import datetime, timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed, Scheduled

from domain.clock import utc_now
from domain.drift import Drift, DriftKind
from domain.ids import RunId
from domain.runs import Run
from flows.mirror import give_up
from flows.naming import POOL, run_name
from flows.run_drift import PAGE, mirror_history
from persistence.drift_log import Repair
from persistence.run_checks import is_unwanted
from persistence.runs import (
    end_lease,
    fence_run,
    find_run,
    find_run_by_id,
    list_carried_ids,
    list_lost_runs,
)
from persistence.sessions import Database, PlatformSession

_LOG = logging.getLogger("tenantry.steward")
_FENCE_S = 60.0
# A lost worker leaves many runs at once, and its executions wait meanwhile.
_AT_A_TIME = 4


async def recover_lost(
    client: PrefectClient, database: Database, *, lease_s: float, max_attempts: int
) -> list[Repair]:
    """End the runs of workers that were not heard of for longer than their lease.

    The worker is fenced first, so that nothing of it is written after this; then Prefect's run
    is marked Crashed, and the mirror gives the executions back to the queue. Killed in between,
    the run is found again when the steward's own lease on it ends.
    """

    def read() -> list[Run]:
        with database.for_platform() as session:
            return list_lost_runs(session, limit=PAGE)

    places = asyncio.Semaphore(_AT_A_TIME)

    async def recover(lost: Run) -> Repair | None:
        async with places:
            run = await asyncio.to_thread(_fence, database, lost, lease_s=lease_s)
            if run is None:
                return None
            _LOG.warning("the worker of run %s is lost", run.id)
            return await _end_fenced(
                client, database, run, DriftKind.WORKER_LOST, max_attempts=max_attempts
            )

    work = [recover(lost) for lost in await asyncio.to_thread(read)]
    ended = await asyncio.gather(*work, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return [each for each in ended if isinstance(each, Repair)]


async def recover_stuck(
    client: PrefectClient,
    database: Database,
    seen: dict[UUID, datetime],
    *,
    limit: timedelta,
    max_attempts: int,
) -> list[Repair]:
    """End or hand out again the flow runs that were made and have not started for too long.

    With a row of ours, the run's worker lives but does not get on: it is fenced, and the
    executions go back to the queue. Without one, a worker died between Prefect's handing it over
    and its row: it becomes Scheduled again, for the next worker.

    Args:
        seen: since when each was seen to be pending; kept by the caller. Counted by looks at a
            Prefect that answers, so that time in which it was away does not count.
    """
    pending = {run.id: run for run in await _read_pending(client)}
    now = utc_now()
    for id in set(seen) - set(pending):
        del seen[id]
    repairs: list[Repair] = []
    for id, flow_run in pending.items():
        if now - seen.setdefault(id, now) < limit:
            continue
        del seen[id]
        repair = await _unstick(client, database, flow_run, max_attempts=max_attempts)
        if repair is not None:
            repairs.append(repair)
    return repairs


async def _unstick(
    client: PrefectClient, database: Database, flow_run: FlowRun, *, max_attempts: int
) -> Repair | None:
    def fence() -> tuple[Run | None, Run | None]:
        with database.for_platform() as session:
            known = find_run(session, flow_run.id) or _find_claimed(session, flow_run)
            if known is None or known.closed_as is not None:
                return known, None
            return known, fence_run(session, known, lease_s=_FENCE_S, lapsed=False)

    known, run = await asyncio.to_thread(fence)
    if run is not None:
        _LOG.warning("run %s has not started", run.id)
        return await _end_fenced(
            client, database, run, DriftKind.RUN_STUCK, max_attempts=max_attempts
        )
    if known is not None:
        # Its worker died, and was given up, before it could note which flow run it had made.
        ended: State = Crashed(message="The worker of this run was lost.")
        await client.set_flow_run_state(flow_run.id, ended, force=True)
    elif flow_run.deployment_id is not None:
        _LOG.warning("flow run %s was handed over and lost: handing it out again", flow_run.id)
        await _hand_out_again(client, flow_run, max_attempts=max_attempts)
    return None


def _find_claimed(session: PlatformSession, flow_run: FlowRun) -> Run | None:
    # A run that a worker claimed has our id as its key in Prefect.
    key = flow_run.idempotency_key or ""
    return find_run_by_id(session, RunId(key)) if key.startswith("run_") else None


async def _hand_out_again(client: PrefectClient, flow_run: FlowRun, *, max_attempts: int) -> None:
    history = await client.read_flow_run_states(flow_run.id)
    tries = sum(state.type is StateType.SCHEDULED for state in history)
    state: State = Scheduled(scheduled_time=utc_now())
    if tries >= max_attempts:
        state = Crashed(message=f"Handed over {tries} times, and lost each time.")
    await client.set_flow_run_state(flow_run.id, state, force=True)


async def _end_fenced(
    client: PrefectClient, database: Database, run: Run, kind: DriftKind, *, max_attempts: int
) -> Repair:
    try:
        changed = await _end(client, database, run, max_attempts=max_attempts)
    except httpx.HTTPError:
        # Prefect is away: without its history nobody knows whether the run was being cancelled.
        await asyncio.to_thread(_give_back, database, run)
        raise
    drift = Drift(
        kind=kind,
        org_id=run.org_id,
        subject=run.id,
        here="the lease ended" if kind is DriftKind.WORKER_LOST else "claimed",
        there="not started" if kind is DriftKind.RUN_STUCK else "open",
    )
    action = f"fenced the worker: {changed} executions ended or wait again"
    return Repair(drift, action, is_repaired=True)


async def _end(client: PrefectClient, database: Database, run: Run, *, max_attempts: int) -> int:
    flow_run_id = run.prefect_flow_run_id or await _find_orphan(client, database, run)
    if flow_run_id is not None:
        try:
            await _mark_ended(client, database, run, flow_run_id)
        except ObjectNotFound:
            flow_run_id = None
    if flow_run_id is None or run.prefect_flow_run_id is None:
        return await asyncio.to_thread(give_up, database, run, max_attempts=max_attempts)
    return await mirror_history(client, database, run, max_attempts=max_attempts)


async def _mark_ended(
    client: PrefectClient, database: Database, run: Run, flow_run_id: UUID
) -> None:
    flow_run = await client.read_flow_run(flow_run_id)

    def nobody_wants_it() -> bool:
        with database.for_platform() as session:
            return is_unwanted(session, run.id)

    is_cancelling = flow_run.state is not None and flow_run.state.type is StateType.CANCELLING
    if is_cancelling or await asyncio.to_thread(nobody_wants_it):
        # What was being cancelled when its worker was lost ends as cancelled on both sides.
        state: State = Cancelled(message="Cancelled; the worker of this run was lost meanwhile.")
        if flow_run.state is None or not flow_run.state.is_final():
            await client.set_flow_run_state(flow_run_id, state, force=True)
        return
    await client.set_flow_run_state(
        flow_run_id, Crashed(message="The worker of this run was lost.")
    )


async def _find_orphan(client: PrefectClient, database: Database, run: Run) -> UUID | None:
    """Find the flow run of a worker that died before it could note which one it was."""

    def read() -> str:
        with database.for_platform() as session:
            return run_name(run.id, list_carried_ids(session, run.id))

    name = await asyncio.to_thread(read)
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])), limit=PAGE
    )
    return next((r.id for r in found if r.idempotency_key == run.id), None)


async def _read_pending(client: PrefectClient) -> list[FlowRun]:
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
            ),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
            limit=PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < PAGE:
            return found


def _fence(database: Database, run: Run, *, lease_s: float) -> Run | None:
    with database.for_platform() as session:
        return fence_run(session, run, lease_s=lease_s)


def _give_back(database: Database, run: Run) -> None:
    with database.for_platform() as session:
        end_lease(session, run)
