"""Bring every run up to what Prefect says of it, whatever the hooks did or did not do."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from domain.clock import utc_now
from domain.ids import RunId
from domain.runs import Run
from flows.mirror import apply, give_up, to_run_state
from flows.naming import run_name
from persistence.runs import (
    fence_run,
    list_carried_ids,
    list_closed_runs,
    list_lost_runs,
    list_open_runs,
    read_marks,
)
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.steward")
# The most that Prefect's API returns at once.
_PAGE = 200


async def reconcile_open(
    client: PrefectClient, database: Database, *, max_attempts: int, missing: set[RunId]
) -> int:
    """Apply Prefect's history to every open run that has moved on; return how many rows changed.

    Args:
        missing: runs that Prefect did not know at the call before; kept by the caller. One that
            is missing twice was deleted there, and its executions go back to the queue.
    """
    changed, after = 0, None
    while True:
        runs = await asyncio.to_thread(_open_page, database, after)
        if not runs:
            return changed
        changed += await _reconcile(
            client, database, runs, max_attempts=max_attempts, missing=missing
        )
        after = runs[-1].id


async def reconcile_closed(
    client: PrefectClient, database: Database, *, since: timedelta, max_attempts: int
) -> int:
    """Do the same for runs that were closed lately: terminal is not always final in Prefect."""

    def read() -> list[Run]:
        with database.for_platform() as session:
            return list_closed_runs(session, since=utc_now() - since, limit=10 * _PAGE)

    runs, changed = await asyncio.to_thread(read), 0
    for start in range(0, len(runs), _PAGE):
        changed += await _reconcile(
            client, database, runs[start : start + _PAGE], max_attempts=max_attempts, missing=None
        )
    return changed


async def recover_lost(
    client: PrefectClient, database: Database, *, lease_s: float, max_attempts: int
) -> int:
    """End the runs of workers that were not heard of; return how many there were.

    The worker is fenced first, so that nothing of it is written after this; then Prefect's run
    is marked Crashed, and the mirror gives the executions back to the queue. Killed in between,
    the run is found again when the steward's own lease on it ends.
    """

    def read() -> list[Run]:
        with database.for_platform() as session:
            lost = list_lost_runs(session, limit=_PAGE)
            fenced = [fence_run(session, run, lease_s=lease_s) for run in lost]
        return [run for run in fenced if run is not None]

    runs = await asyncio.to_thread(read)
    for run in runs:
        _LOG.warning("the worker of run %s is lost", run.id)
        flow_run_id = run.prefect_flow_run_id or await _find_orphan(client, database, run)
        if flow_run_id is None:
            await asyncio.to_thread(give_up, database, run, max_attempts=max_attempts)
            continue
        try:
            await client.set_flow_run_state(
                flow_run_id, Crashed(message="The worker of this run was lost.")
            )
        except ObjectNotFound:
            await asyncio.to_thread(give_up, database, run, max_attempts=max_attempts)
            continue
        if run.prefect_flow_run_id is None:
            await asyncio.to_thread(give_up, database, run, max_attempts=max_attempts)
        else:
            await mirror_history(client, database, run, max_attempts=max_attempts)
    return len(runs)


async def mirror_history(
    client: PrefectClient, database: Database, run: Run, *, max_attempts: int
) -> int:
    """Read a run's whole history from Prefect and apply it; return how many rows changed."""
    if run.prefect_flow_run_id is None:
        return 0
    history = await client.read_flow_run_states(run.prefect_flow_run_id)
    states = [to_run_state(state) for state in history]
    return await asyncio.to_thread(apply, database, run, states, max_attempts=max_attempts)


async def _reconcile(
    client: PrefectClient,
    database: Database,
    runs: Sequence[Run],
    *,
    max_attempts: int,
    missing: set[RunId] | None,
) -> int:
    known = {run.prefect_flow_run_id: run for run in runs if run.prefect_flow_run_id}
    if not known:
        return 0
    found = await _read_flow_runs(client, list(known))
    marks = await asyncio.to_thread(_marks, database, [run.id for run in known.values()])
    changed = 0
    for flow_run_id, run in known.items():
        flow_run = found.get(flow_run_id)
        if flow_run is None:
            if missing is None:
                continue
            if run.id in missing:
                _LOG.warning("run %s was deleted in Prefect", run.id)
                await asyncio.to_thread(give_up, database, run, max_attempts=max_attempts)
                missing.discard(run.id)
            else:
                missing.add(run.id)
        elif flow_run.state_id != marks.get(run.id):
            changed += await mirror_history(client, database, run, max_attempts=max_attempts)
    return changed


async def _read_flow_runs(client: PrefectClient, ids: list[UUID]) -> dict[UUID, FlowRun]:
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)), limit=_PAGE
    )
    return {run.id: run for run in runs}


async def _find_orphan(client: PrefectClient, database: Database, run: Run) -> UUID | None:
    """Find the flow run of a worker that died before it could note which one it was."""

    def read() -> str:
        with database.for_platform() as session:
            return run_name(run.id, list_carried_ids(session, run.id))

    name = await asyncio.to_thread(read)
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])), limit=_PAGE
    )
    return next((r.id for r in found if r.idempotency_key == run.id), None)


def _open_page(database: Database, after: RunId | None) -> list[Run]:
    with database.for_platform() as session:
        return list_open_runs(session, after=after, limit=_PAGE)


def _marks(database: Database, ids: list[RunId]) -> dict[RunId, UUID | None]:
    with database.for_platform() as session:
        return read_marks(session, ids)
