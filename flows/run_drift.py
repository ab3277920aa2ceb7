"""Find where runs and Prefect do not say the same, and put it right."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.objects import StateType as PrefectStateType
from prefect.exceptions import ObjectNotFound

from domain.clock import utc_now
from domain.drift import Drift, DriftKind, compare_run
from domain.ids import RunId
from domain.runs import Run, RunState, StateType
from flows.mirror import apply, give_up, to_run_state
from persistence.drift_log import Repair
from persistence.run_checks import CheckedRun, list_ended, list_unfinished
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.steward")
# The most that Prefect's API returns at once.
PAGE = 200
_MANY = 10_000


@dataclass(frozen=True, slots=True)
class RunDrift:
    """A difference, and the run that it is in."""

    drift: Drift
    run: Run


async def find_open_drift(client: PrefectClient, database: Database) -> list[RunDrift]:
    """Compare every run that is open, or has an open execution in it, with Prefect."""
    found: list[RunDrift] = []
    after: RunId | None = None
    while True:
        page = await asyncio.to_thread(_read_unfinished, database, after)
        if not page:
            return found
        # Prefect is asked after our rows: what moves in between was moved by Prefect first, and
        # is at worst mirrored twice.
        found += await _compare(client, page)
        after = page[-1].run.id


async def find_closed_drift(
    client: PrefectClient, database: Database, *, since: timedelta, statuses: bool = False
) -> list[RunDrift]:
    """Compare runs that were closed lately: terminal is not always final in Prefect.

    Args:
        statuses: compare their executions, too; for a look that is not made often.
    """

    def read() -> list[CheckedRun]:
        with database.for_platform() as session:
            return list_ended(session, since=utc_now() - since, limit=_MANY, statuses=statuses)

    checked = await asyncio.to_thread(read)
    found: list[RunDrift] = []
    for start in range(0, len(checked), PAGE):
        found += await _compare(client, checked[start : start + PAGE])
    return found


async def repair_run(
    client: PrefectClient, database: Database, found: RunDrift, *, max_attempts: int
) -> Repair | None:
    """Put a run right; `None` if there was nothing to do after all.

    Our rows change through the mirror only. Prefect is put right where it says something else of
    a run that is closed here: what is final for a tenant stays so. Killed at any point and
    called again, it goes on where it was.
    """
    drift, run = found.drift, found.run
    match drift.kind:
        case DriftKind.STATE_BEHIND | DriftKind.OPEN_HERE_CLOSED_THERE:
            changed = await mirror_history(client, database, run, max_attempts=max_attempts)
            action = f"mirrored Prefect's history: {changed} rows"
            return Repair(drift, action, is_repaired=True) if changed else None
        case DriftKind.MISSING_IN_PREFECT:
            _LOG.warning("run %s was deleted in Prefect", run.id)
            changed = await asyncio.to_thread(give_up, database, run, max_attempts=max_attempts)
            return Repair(drift, f"closed the run: {changed} executions ended or wait again", True)
        case DriftKind.CLOSED_HERE_OPEN_THERE | DriftKind.TERMINAL_MISMATCH:
            return await _correct_prefect(client, database, found, max_attempts=max_attempts)
        case DriftKind.EXECUTION_STRANDED:
            changed = await mirror_history(
                client, database, run, max_attempts=max_attempts, again=True
            )
            if not changed:
                changed = await asyncio.to_thread(
                    give_up, database, run, max_attempts=max_attempts, again=True
                )
            return Repair(drift, f"ended or gave back {changed} executions", changed > 0)
        case _:
            return Repair(drift, "none: a person has to look", is_repaired=False)


async def mirror_history(
    client: PrefectClient,
    database: Database,
    run: Run,
    *,
    max_attempts: int,
    again: bool = False,
) -> int:
    """Read a run's whole history from Prefect and apply it; return how many rows changed."""
    states: list[RunState] = []
    if run.prefect_flow_run_id is not None:
        history = await client.read_flow_run_states(run.prefect_flow_run_id)
        states = [to_run_state(state) for state in history]
    return await asyncio.to_thread(
        apply, database, run, states, max_attempts=max_attempts, again=again
    )


async def _correct_prefect(
    client: PrefectClient, database: Database, found: RunDrift, *, max_attempts: int
) -> Repair:
    run = found.run
    closed_as = run.closed_as or StateType.CRASHED
    if run.prefect_flow_run_id is None:
        return Repair(found.drift, "none: Prefect's run is not known", is_repaired=False)
    state: State[Any] = State(
        type=PrefectStateType(closed_as.value),
        message="Put right by Tenantry: so the run was closed there.",
    )
    try:
        await client.set_flow_run_state(run.prefect_flow_run_id, state, force=True)
    except ObjectNotFound:
        return Repair(found.drift, "none: the run was deleted in Prefect meanwhile", True)
    await mirror_history(client, database, run, max_attempts=max_attempts)
    return Repair(found.drift, f"set Prefect's run to {closed_as.value}", is_repaired=True)


async def _compare(client: PrefectClient, checked: Sequence[CheckedRun]) -> list[RunDrift]:
    ids = [c.run.prefect_flow_run_id for c in checked if c.run.prefect_flow_run_id]
    seen = await read_flow_runs(client, ids) if ids else {}
    now = utc_now()
    found: list[RunDrift] = []
    for each in checked:
        flow_run_id = each.run.prefect_flow_run_id
        if flow_run_id is None and each.run.closed_as is None:
            continue  # its worker is about to start it; if it dies, the lease ends
        drift = compare_run(
            each.view, _newest(seen.get(flow_run_id)) if flow_run_id else None, now=now
        )
        if drift is not None:
            found.append(RunDrift(drift, each.run))
    return found


async def read_flow_runs(client: PrefectClient, ids: Sequence[UUID]) -> dict[UUID, FlowRun]:
    """Read at most 200 flow runs in one request; those that Prefect does not have are left out."""
    runs = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(ids))), limit=PAGE
    )
    return {run.id: run for run in runs}


def _newest(flow_run: FlowRun | None) -> RunState | None:
    if flow_run is None or flow_run.state is None:
        return None
    return to_run_state(flow_run.state)


def _read_unfinished(database: Database, after: RunId | None) -> list[CheckedRun]:
    with database.for_platform() as session:
        return list_unfinished(session, after=after, limit=PAGE)
