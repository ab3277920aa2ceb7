"""End executions whose run goes on without them, or that would never start."""

import asyncio
from collections.abc import Collection, Iterable
from itertools import groupby

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from domain.clock import utc_now
from domain.executions import FINAL, Execution, ExecutionStatus, LeaseLost
from domain.ids import ExecutionId, OrgId, WorkflowId
from domain.runs import Run
from domain.workflows import WorkflowDefinition
from flows.decision import decide, ending_called_off
from persistence.agent_runs import list_agent_runs
from persistence.called_off import (
    find_orgs_with_called_off,
    list_suspended_to_end,
    lock_called_off,
)
from persistence.execution_moves import FinishedExecution, finish_executions
from persistence.executions import list_carried
from persistence.runs import hold_lease
from persistence.sessions import Database, OrgSession
from persistence.workflows import get_definition


def call_off(database: Database, run: Run) -> dict[ExecutionId, ExecutionStatus]:
    """End what a run carries and what was cancelled, or whose deadline passed; say how it ended.

    The run and its other executions go on. Called again, there is nothing left to end.

    Raises:
        LeaseLost: the run was taken from this worker, or is closed.
    """
    with database.org(run.org_id) as session:
        hold_lease(session, run)
        return _end(session, lock_called_off(session, run_id=run.id))


def call_off_waiting(database: Database) -> int:
    """End what waits for a worker and shall not get one any more; return how much that was.

    For the steward: what waits belongs to no worker. Safe to repeat, and beside workers that
    claim: of the two, one gets the execution.
    """
    with database.for_platform() as session:
        org_ids = find_orgs_with_called_off(session)
    return sum(_call_off_waiting(database, org_id) for org_id in org_ids)


async def call_off_suspended(client: PrefectClient, database: Database) -> int:
    """End what was called off in runs that are suspended in Prefect; return how much that was.

    For the steward: their workers have left them. A run that carries nothing else any more ends
    in Prefect, too; killed before that, it is found again.
    """

    def read() -> list[Run]:
        with database.for_platform() as session:
            return list_suspended_to_end(session)

    count = 0
    for run in await asyncio.to_thread(read):
        try:
            ended, statuses = await asyncio.to_thread(_call_off_suspended, database, run)
        except LeaseLost:
            continue  # somebody has resumed it: its worker sees to it
        count += len(ended)
        if statuses and run.prefect_flow_run_id is not None:
            await client.set_flow_run_state(
                run.prefect_flow_run_id, ended_state(statuses), force=True
            )
    return count


def _call_off_suspended(
    database: Database, run: Run
) -> tuple[dict[ExecutionId, ExecutionStatus], list[ExecutionStatus]]:
    ended = call_off(database, run)
    with database.org(run.org_id) as session:
        statuses = [execution.status for execution in list_carried(session, run.id)]
    return ended, statuses if all(status in FINAL for status in statuses) else []


def ended_state(statuses: Collection[ExecutionStatus]) -> State:
    """Make Prefect's final state of a run all of whose executions ended before it did."""
    count = len(statuses)
    if ExecutionStatus.COMPLETED in statuses:
        return Completed(name="PartiallyFailed", message=f"{count} ended before the run")
    if ExecutionStatus.FAILED in statuses:
        return Failed(message=f"{count} called off: the deadline passed")
    return Cancelled(message=f"{count} cancelled")


def _call_off_waiting(database: Database, org_id: OrgId) -> int:
    with database.org(org_id) as session:
        return len(_end(session, lock_called_off(session, run_id=None)))


def _end(
    session: OrgSession, executions: Iterable[Execution]
) -> dict[ExecutionId, ExecutionStatus]:
    now = utc_now()

    def version_of(execution: Execution) -> tuple[WorkflowId, int]:
        return execution.workflow_id, execution.workflow_version

    finished: list[FinishedExecution] = []
    for (workflow_id, version), group in groupby(sorted(executions, key=version_of), version_of):
        definition = WorkflowDefinition.model_validate(
            get_definition(session, workflow_id, version=version)
        )
        finished += _decide_all(session, definition, list(group))
    finish_executions(session, finished, at=now, started_at=None, state=None)
    return {item.id: item.status for item in finished}


def _decide_all(
    session: OrgSession, definition: WorkflowDefinition, executions: list[Execution]
) -> Iterable[FinishedExecution]:
    runs = list_agent_runs(session, [execution.id for execution in executions])
    for execution in executions:
        # The database's clock has said that it shall end; ours may be behind.
        at = max(utc_now(), execution.deadline or utc_now())
        ending = ending_called_off(execution, at=at)
        if ending is None:
            continue
        own = [run for run in runs if run.execution_id == execution.id]
        ended = decide(definition, execution.id, own, ending=ending, may_retry=False)
        if ended is not None:
            yield ended
