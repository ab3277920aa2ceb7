"""What is compared of runs that have ended."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from domain.clock import utc_now
from domain.drift import GRACE, Drift, DriftKind, compare_run
from domain.errors import ErrorCode
from domain.executions import ExecutionError, ExecutionStatus
from domain.runs import Run, RunState, StateType
from flows.calling_off import call_off
from flows.mirror import apply
from persistence.execution_cancel import request_cancel
from persistence.execution_moves import finish_executions
from persistence.queue import claim_run
from persistence.run_checks import list_ended
from persistence.runs import set_flow_run
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import ending, queue, simple_workflow


def running(database: Database) -> Run:
    with database.for_platform() as session:
        found = claim_run(session, worker="w", lease_s=60)
    assert found is not None
    with database.for_platform() as session:
        set_flow_run(session, found.run, uuid4())
    tell(database, found.run, StateType.RUNNING)
    return found.run


def tell(database: Database, run: Run, kind: StateType) -> RunState:
    state = RunState(uuid4(), kind, kind.value.title(), utc_now())
    apply(database, run, [state])
    return state


def compare(database: Database, run: Run, seen: RunState) -> Drift | None:
    with database.for_platform() as session:
        ended = list_ended(session, since=utc_now() - timedelta(hours=1), limit=9, statuses=True)
    (checked,) = [each for each in ended if each.run.id == run.id]
    return compare_run(checked.view, seen, now=utc_now() + 2 * GRACE)


def test_a_run_that_was_completed_as_its_execution_was_cancelled_is_no_drift(database):
    id = queue(database, ACME, simple_workflow(database, ACME)).id
    run = running(database)
    with database.org(ACME) as session:
        request_cancel(session, id)
    # Its flow has ended in Prefect, and the worker hears of the cancelling before it writes that.
    assert call_off(database, run) == {id: ExecutionStatus.CANCELLED}
    assert compare(database, run, tell(database, run, StateType.COMPLETED)) is None


def test_a_completed_run_whose_execution_failed_by_itself_is(database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    run = running(database)
    with database.org(ACME) as session:
        failed = replace(
            ending(execution, ExecutionStatus.FAILED),
            output=None,
            error=ExecutionError(ErrorCode.AGENT_FAILED, "It broke.", "Mend it."),
        )
        finish_executions(session, [failed], at=utc_now(), started_at=None, state=None)
    drift = compare(database, run, tell(database, run, StateType.COMPLETED))
    assert drift is not None
    assert drift.kind is DriftKind.STATUS_MISMATCH
    assert drift.here == "none of 1 executions is COMPLETED: 1 FAILED"
