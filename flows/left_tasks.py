"""Task runs that Prefect has for under way although their flow run has ended.

A worker tells Prefect of its tasks by events. Those of one that was killed never come, and those
that were on their way when Prefect's server was killed are lost.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import TaskRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from domain.clock import utc_now
from domain.runs import TERMINAL
from flows.run_drift import PAGE
from persistence.run_checks import find_closed
from persistence.sessions import Database

# Events come in batches, and a little late.
_GRACE = timedelta(seconds=15)
_ENDED = [type for type in StateType if type.value in TERMINAL]
_NOT_ENDED = [type for type in StateType if type.value not in TERMINAL]


async def end_left_tasks(client: PrefectClient, database: Database) -> int:
    """End the tasks of runs that are closed here, the newest first; return how many there were.

    Nothing depends on them but what people see in Prefect's pages. Safe to repeat: what has ended
    is not found again.
    """
    left = await client.read_task_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ENDED))
        ),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_NOT_ENDED))
        ),
        sort=TaskRunSort.ID_DESC,
        limit=PAGE,
    )
    ids = {task.flow_run_id for task in left if task.flow_run_id is not None}
    # Prefect may have flows that are none of ours.
    ours = await asyncio.to_thread(_find_ours, database, sorted(ids)) if ids else {}
    ended = 0
    for task in left:
        if task.flow_run_id is not None and task.flow_run_id in ours:
            state = _end(ours[task.flow_run_id])
            try:
                await client.set_task_run_state(task.id, state, force=True)
            except ObjectNotFound:
                continue
            ended += 1
    return ended


def _end(closed_as: str | None) -> State:
    if closed_as == StateType.CANCELLED.value:
        return Cancelled(message="Its run was cancelled.")
    return Crashed(message="Its run has ended; nothing more was heard of it.")


def _find_ours(database: Database, flow_run_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    with database.for_platform() as session:
        return find_closed(session, flow_run_ids, before=utc_now() - _GRACE)
