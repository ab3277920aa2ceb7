"""Who loses an attempt when workers are lost, as the tables have it."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.executions import ExecutionStatus, LeaseLost
from domain.runs import ClaimedRun, RunState, StateType
from flows.mirror import apply
from persistence.executions import get_execution
from persistence.isolation import claim_isolated, has_isolated_work
from persistence.queue import Claimant, claim_runs
from persistence.run_losses import give_up_runs, note_asked, spare_runs
from persistence.runs import end_leases_of, fence_run
from persistence.sessions import Database
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import queue, simple_workflow


def claim(database: Database, *, worker: str = "w", runs: int = 8) -> list[ClaimedRun]:
    claimant = Claimant(name=worker, lease_s=60, runs=runs, free_runs=runs, free_executions=10_000)
    with database.for_platform() as session:
        return claim_runs(session, claimant)


def ask(database: Database, *claimed: ClaimedRun) -> None:
    for each in claimed:
        with database.org(each.run.org_id) as session:
            note_asked(session, each.run)


def lose(database: Database, *claimed: ClaimedRun) -> None:
    """Do what the steward does for runs whose leases have ended."""
    for each in claimed:
        with database.for_platform() as session:
            fenced = fence_run(session, each.run, lease_s=60)
        assert fenced is not None
        crashed = RunState(uuid4(), StateType.CRASHED, "Crashed", utc_now())
        apply(database, fenced, [crashed])


def kill(database: Database, worker: str = "w") -> None:
    with database.for_platform() as session:
        end_leases_of(session, worker)


def attempt(database: Database, id, org_id=ACME) -> int:
    with database.org(org_id) as session:
        return get_execution(session, id).attempt


def facts(database: Database, ids) -> set[tuple[int, int | None, bool]]:
    with database.org(ACME) as session:
        rows = session.execute(
            text("select attempt, run_size_limit, is_isolated from executions where id = any(:i)"),
            {"i": list(ids)},
        )
        return {tuple(row) for row in rows}


def test_an_outage_before_any_agent_was_asked_costs_no_attempt_however_often_it_comes(database):
    workflow = simple_workflow(database, ACME)
    ids = [queue(database, ACME, workflow).id for _ in range(200)]
    for _ in range(5):
        claimed = claim(database)
        assert sum(len(each.execution_ids) for each in claimed) == 200
        kill(database)
        lose(database, *claimed)
    assert facts(database, ids) == {(1, None, False)}


def test_what_was_lost_alone_is_tried_again_as_often_as_allowed_and_then_fails_as_lost(database):
    id = queue(database, ACME, simple_workflow(database, ACME)).id
    for number in range(3):
        if number == 0:
            (claimed,) = claim(database)
        else:
            with database.for_platform() as session:
                claimed = claim_isolated(session, worker="w", lease_s=60) or claim_now(database)
        ask(database, claimed)
        kill(database)
        lose(database, claimed)
    with database.org(ACME) as session:
        found = get_execution(session, id)
    assert (found.status, found.attempt) == (ExecutionStatus.FAILED, 3)
    assert found.error is not None
    assert found.error.code is ErrorCode.EXECUTION_LOST


def claim_now(database: Database) -> ClaimedRun:
    (claimed,) = claim(database)
    return claimed


def test_of_several_runs_of_a_lost_worker_none_loses_an_attempt(database):
    mine, other = simple_workflow(database, ACME), simple_workflow(database, GLOBEX)
    one, two = queue(database, ACME, mine).id, queue(database, GLOBEX, other).id
    claimed = claim(database)
    assert len(claimed) == 2
    ask(database, *claimed)
    kill(database)
    lose(database, *claimed)
    assert (attempt(database, one), attempt(database, two, GLOBEX)) == (1, 1)


def test_the_run_that_hung_a_worker_is_isolated_and_its_neighbours_wait_as_before(database):
    mine, other = simple_workflow(database, ACME), simple_workflow(database, GLOBEX)
    for _ in range(40):
        queue(database, ACME, mine)
    neighbour = queue(database, GLOBEX, other).id
    claimed = claim(database)
    ask(database, *claimed)
    hung = max(claimed, key=lambda each: len(each.execution_ids))
    ids, size = hung.execution_ids, len(hung.execution_ids)
    assert size >= 10
    with database.for_platform() as session:
        assert give_up_runs(session, "w", reason=hung.run.id) == len(claimed)
    lose(database, *claimed)
    assert facts(database, ids) == {(1, size // 10, True)}
    # Workers of the queue get all neighbours, as they were, and nothing of that run.
    again = claim(database)
    assert {id for each in again for id in each.execution_ids} == {
        id for each in claimed if each is not hung for id in each.execution_ids
    }
    assert attempt(database, neighbour, GLOBEX) == 1
    # Its executions come back in smaller and smaller runs, to a process of their own.
    sizes = [size]
    while sizes[-1] > 1:
        with database.for_platform() as session:
            assert has_isolated_work(session)
            alone = claim_isolated(session, worker="alone", lease_s=60)
        assert alone is not None
        assert set(alone.execution_ids) <= set(ids)
        sizes.append(len(alone.execution_ids))
        assert sizes[-1] == max(1, sizes[-2] // 10)
        ask(database, alone)
        kill(database, "alone")
        lose(database, alone)
    assert attempt(database, alone.execution_ids[0]) == 2
    assert {attempt(database, id) for id in ids if id not in alone.execution_ids} == {1}


def test_a_large_run_that_is_lost_returns_in_smaller_ones_and_is_isolated_the_next_time(database):
    workflow = simple_workflow(database, ACME)
    ids = [queue(database, ACME, workflow).id for _ in range(50)]
    (claimed,) = claim(database, runs=1)
    size = len(claimed.execution_ids)
    ask(database, claimed)
    kill(database)
    lose(database, claimed)
    assert facts(database, claimed.execution_ids) == {(1, max(1, size // 10), False)}
    again = claim(database)
    limited = [each for each in again if each.execution_ids[0] in claimed.execution_ids]
    assert {len(each.execution_ids) for each in limited} == {size // 10}
    ask(database, *limited)
    kill(database)
    lose(database, *again)
    lost_twice = [id for each in limited for id in each.execution_ids]
    assert {(a, i) for a, _, i in facts(database, lost_twice)} == {(1, True)}
    assert ids


def test_what_a_draining_worker_breaks_off_loses_no_attempt(database):
    id = queue(database, ACME, simple_workflow(database, ACME)).id
    (claimed,) = claim(database)
    ask(database, claimed)
    with database.for_platform() as session:
        spare_runs(session, "w")
    apply(database, claimed.run, [RunState(uuid4(), StateType.CRASHED, "Crashed", utc_now())])
    assert facts(database, [id]) == {(1, None, False)}


def test_from_whom_a_run_was_taken_no_agent_is_asked(database):
    queue(database, ACME, simple_workflow(database, ACME))
    (claimed,) = claim(database)
    kill(database)
    lose(database, claimed)
    with pytest.raises(LeaseLost), database.org(ACME) as session:
        note_asked(session, claimed.run)
