"""Status changes: guarded, counted once, written with their audit entry."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.executions import ExecutionError, ExecutionStatus, Trigger
from domain.lost_runs import Loss
from domain.runs import RunState, StateType
from persistence.audit import list_audit
from persistence.execution_moves import (
    FinishedExecution,
    finish_executions,
    pause_executions,
    requeue_executions,
    start_executions,
)
from persistence.executions import (
    IdempotencyConflict,
    add_execution,
    get_execution,
    list_executions,
)
from persistence.queue import claim_run, note_worker
from persistence.sessions import Database
from persistence.tables import AuditRow
from persistence.workflows import get_workflow
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import ending, queue, simple_workflow

LOST = Loss(size=1, was_asked=True)
COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED


def state(kind: StateType = StateType.RUNNING) -> RunState:
    return RunState(uuid4(), kind, kind.value.title(), utc_now())


def actions(database: Database, execution_id: str) -> list[str]:
    with database.org(ACME) as session:
        return [item.entry.action for item in list_audit(session, resource_id=execution_id)][::-1]


def failed(execution) -> FinishedExecution:
    error = ExecutionError(ErrorCode.AGENT_FAILED, "It did not work.", "Try again.")
    return FinishedExecution(
        id=execution.id, status=FAILED, error=error, agent_results={}, execution_graph={}
    )


def finish(database: Database, *finished: FinishedExecution) -> int:
    with database.org(ACME) as session:
        return finish_executions(
            session, finished, at=utc_now(), started_at=None, state=state(StateType.COMPLETED)
        )


def test_a_whole_life_is_counted_once_and_audited(database):
    workflow = simple_workflow(database, ACME)
    execution = queue(database, ACME, workflow)
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60)
    running = state()
    with database.org(ACME) as session:
        assert start_executions(session, claimed.run.id, state=running, at=running.at) == 1
    assert finish(database, ending(execution)) == 1
    with database.org(ACME) as session:
        found = get_execution(session, execution.id)
        counted = get_workflow(session, workflow.id)
    assert found.status is COMPLETED
    assert found.created_at <= found.started_at <= found.completed_at
    assert found.started_at == running.at
    assert found.duration_seconds == pytest.approx(
        (found.completed_at - found.started_at).total_seconds()
    )
    assert (counted.execution_count, counted.success_count, counted.failure_count) == (1, 1, 0)
    assert actions(database, execution.id) == [
        "execution.created",
        "execution.started",
        "workflow.executed",
    ]


def test_of_racing_writers_exactly_one_finishes(database):
    workflow = simple_workflow(database, ACME)
    execution = queue(database, ACME, workflow)
    wanted = [ending(execution), failed(execution)] * 8
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda item: finish(database, item), wanted))
    assert sum(written) == 1
    with database.org(ACME) as session:
        counted = get_workflow(session, workflow.id)
    assert counted.execution_count == counted.success_count + counted.failure_count == 1
    assert len(actions(database, execution.id)) == 2


def test_batches_of_one_workflow_in_any_order_do_not_deadlock(database):
    workflow = simple_workflow(database, ACME)
    executions = [queue(database, ACME, workflow) for _ in range(40)]
    batches = [executions[n : n + 20] for n in range(0, 21, 5)] * 3

    def end(batch) -> int:
        return finish(database, *(ending(item) for item in reversed(batch)))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(end, batches)) == 40
    with database.org(ACME) as session:
        assert get_workflow(session, workflow.id).success_count == 40


def test_an_end_before_the_creation_is_moved_to_it(database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    early = utc_now() - timedelta(hours=1)
    with database.org(ACME) as session:
        finish_executions(session, [ending(execution)], at=early, started_at=early, state=None)
        found = get_execution(session, execution.id)
    assert found.created_at == found.started_at == found.completed_at


def test_an_execution_that_never_started_has_no_start_and_no_duration(database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    finish(database, ending(execution, ExecutionStatus.CANCELLED))
    with database.org(ACME) as session:
        found = get_execution(session, execution.id)
    assert found.status is ExecutionStatus.CANCELLED
    assert (found.started_at, found.duration_seconds) == (None, None)


def test_a_requeued_execution_keeps_its_status_and_waits_again(database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60)
    running = state()
    with database.org(ACME) as session:
        start_executions(session, claimed.run.id, state=running, at=running.at)
        ids = [execution.id]
        requeued = [
            requeue_executions(session, ids, run_id=claimed.run.id, at=utc_now(), loss=LOST)
            for _ in range(2)
        ]
        found = get_execution(session, execution.id)
    assert requeued == [1, 0]
    assert (found.status, found.attempt, found.run_id) == (ExecutionStatus.RUNNING, 2, None)
    with database.for_platform() as session:
        again = claim_run(session, worker="w", lease_s=60)
    assert again.execution_ids == [execution.id]


def test_a_paused_execution_whose_run_is_gone_is_claimed_again(database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60)
    running, paused = state(), state(StateType.PAUSED)
    with database.org(ACME) as session:
        start_executions(session, claimed.run.id, state=running, at=running.at)
        assert pause_executions(session, claimed.run.id, state=paused) == 1
        requeue_executions(session, [execution.id], run_id=claimed.run.id, at=utc_now(), loss=LOST)
    with database.for_platform() as session:
        again = claim_run(session, worker="w", lease_s=60)
    assert again.execution_ids == [execution.id]


def test_a_failed_execution_is_audited_as_no_success_with_its_reason(database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    finish(database, failed(execution))
    with database.org(ACME) as session:
        last = list_audit(session, resource_id=execution.id)[0].entry
    assert not last.success
    assert last.error_message == "It did not work."
    assert last.user_id == ADMIN


def test_the_same_idempotency_key_gives_the_first_execution(database):
    workflow = simple_workflow(database, ACME)

    def add(text: str) -> str:
        with database.org(ACME, user_id=ADMIN) as session:
            return add_execution(
                session,
                workflow.id,
                version=1,
                input_data={"text": text},
                trigger=Trigger.API,
                idempotency_key="k",
            ).id

    assert add("one") == add("one")
    with pytest.raises(IdempotencyConflict):
        add("two")
    with database.org(ACME) as session:
        assert len(list_executions(session)) == 1
        entries = session.scalars(select(AuditRow).where(AuditRow.action == "execution.created"))
        assert len(entries.all()) == 1


def test_executions_are_listed_newest_first_and_paged(database):
    workflow = simple_workflow(database, ACME)
    ids = [queue(database, ACME, workflow).id for _ in range(5)]
    with database.org(ACME) as session:
        first = list_executions(session, limit=2)
        second = list_executions(session, limit=9, before=first[-1].id)
    assert [e.id for e in (*first, *second)] == ids[::-1]


def test_racing_claimers_never_take_the_same_execution(database):
    for org_id in (ACME, GLOBEX):
        workflow = simple_workflow(database, org_id)
        for _ in range(30):
            queue(database, org_id, workflow)
    with database.for_platform() as session:
        note_worker(session, "with much room", slots=1_000, life_s=60)

    def claim(number: int) -> list[str]:
        taken: list[str] = []
        while True:
            with database.for_platform() as session:
                claimed = claim_run(session, worker=f"w{number}", lease_s=60, size=3)
            if claimed is None:
                return taken
            taken += claimed.execution_ids

    with ThreadPoolExecutor(6) as pool:
        taken = [id for ids in pool.map(claim, range(6)) for id in ids]
    # A claimer that meets only rows that others hold right now goes away with nothing.
    with database.for_platform() as session:
        while claimed := claim_run(session, worker="last", lease_s=60):
            taken += claimed.execution_ids
    assert len(taken) == len(set(taken)) == 60


def test_a_claim_takes_one_workflow_version_of_one_organization(database):
    for org_id in (ACME, GLOBEX):
        workflow = simple_workflow(database, org_id)
        queue(database, org_id, workflow)
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60, size=10)
    assert len(claimed.execution_ids) == 1


def test_a_higher_priority_is_claimed_first(database):
    workflow = simple_workflow(database, ACME)
    queue(database, ACME, workflow)
    with database.org(ACME, user_id=ADMIN) as session:
        urgent = add_execution(
            session,
            workflow.id,
            version=1,
            input_data={"text": "now"},
            trigger=Trigger.API,
            priority=1,
        )
    with database.for_platform() as session:
        assert claim_run(session, worker="w", lease_s=60).execution_ids == [urgent.id]
