"""Who has a run: leases that end, are taken over, and do not count while it is suspended."""

from uuid import uuid4

import pytest

from domain.clock import utc_now
from domain.executions import LeaseLost
from domain.limits import OrgLimits, WorkflowLimits
from domain.runs import Run, RunState, StateType
from flows.calling_off import call_off
from flows.mirror import apply
from persistence.called_off import list_suspended_to_end
from persistence.driver_errors import DatabaseUnreachable
from persistence.execution_cancel import request_cancel
from persistence.limits import set_org_limits, set_workflow_limits
from persistence.queue import claim_run, forget_worker, is_worker_noted, may_start, note_worker
from persistence.runs import (
    end_lease,
    end_leases_of,
    fence_run,
    hold_lease,
    is_fenced,
    list_lost_runs,
    renew_leases,
    take_over,
)
from persistence.sessions import Database, open_database
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import chain, queue, save_workflow, simple_workflow


def claimed(database: Database, *, worker: str = "first", lease_s: float = 60) -> Run:
    queue(database, ACME, save_workflow(database, ACME, chain(f"W {uuid4()}", PROBE)))
    with database.for_platform() as session:
        found = claim_run(session, worker=worker, lease_s=lease_s)
    assert found is not None
    return found.run


PROBE = {"type": "probe", "config": {}}


def tell(database: Database, run: Run, kind: StateType, *, name: str | None = None) -> None:
    state = RunState(uuid4(), kind, name or kind.value.title(), utc_now())
    apply(database, run, [state])


def lost(database: Database) -> list[str]:
    with database.for_platform() as session:
        return [run.id for run in list_lost_runs(session, limit=10)]


def test_a_run_whose_lease_ended_is_lost_unless_it_is_suspended(database):
    run = claimed(database, lease_s=0)
    assert lost(database) == [run.id]
    tell(database, run, StateType.RUNNING)
    assert lost(database) == [run.id]
    tell(database, run, StateType.PAUSED, name="Suspended")
    assert lost(database) == []
    tell(database, run, StateType.SCHEDULED, name="Resuming")
    assert lost(database) == []
    tell(database, run, StateType.RUNNING)
    assert lost(database) == [run.id]


def test_a_run_is_taken_over_once_and_its_old_worker_writes_nothing_more(database):
    run = claimed(database)
    with database.for_platform() as session:
        assert take_over(session, run, worker="second", lease_s=60) is None
        end_lease(session, run)
        taken = take_over(session, run, worker="second", lease_s=60)
        assert take_over(session, run, worker="third", lease_s=60) is None
    assert taken is not None
    assert taken.lease_token != run.lease_token
    with database.for_platform() as session:
        assert renew_leases(session, [run.lease_token], lease_s=60) == {run.lease_token}
    with database.org(ACME) as session:
        hold_lease(session, taken)
        with pytest.raises(LeaseLost):
            hold_lease(session, run)


def test_a_run_is_fenced_once_it_was_taken_and_not_because_it_is_closed(database):
    run = claimed(database)
    tell(database, run, StateType.RUNNING)
    tell(database, run, StateType.CANCELLED)
    with database.for_platform() as session:
        assert not is_fenced(session, run)
    other = claimed(database, lease_s=0)
    with database.for_platform() as session:
        assert fence_run(session, other, lease_s=60) is not None
        assert is_fenced(session, other)


def test_a_dead_workers_leases_end_at_once_and_nobody_elses(database):
    of_dead = [claimed(database, worker="dead").id for _ in range(2)]
    claimed(database, worker="alive")
    with database.for_platform() as session:
        assert end_leases_of(session, "dead") == 2
    assert lost(database) == sorted(of_dead)


def test_a_worker_is_noted_until_it_is_forgotten_or_silent(database):
    with database.for_platform() as session:
        assert not is_worker_noted(session, "w")
        note_worker(session, "w", slots=1, life_s=60)
        assert is_worker_noted(session, "w")
        note_worker(session, "w", slots=1, life_s=0)
        assert not is_worker_noted(session, "w")
        note_worker(session, "w", slots=1, life_s=60)
        forget_worker(session, "w")
        assert not is_worker_noted(session, "w")


def test_suspended_runs_with_something_called_off_are_found_once_their_worker_has_left(database):
    queued = queue(database, ACME, simple_workflow(database, ACME))
    with database.for_platform() as session:
        found = claim_run(session, worker="w", lease_s=60)
    assert found is not None
    tell(database, found.run, StateType.RUNNING)
    tell(database, found.run, StateType.PAUSED)

    def listed() -> list[str]:
        with database.for_platform() as session:
            return [run.id for run in list_suspended_to_end(session)]

    with database.for_platform() as session:
        end_lease(session, found.run)
    assert listed() == []
    with database.org(ACME) as session:
        request_cancel(session, queued.id)
    assert listed() == [found.run.id]
    assert list(call_off(database, found.run)) == [queued.id]
    # Until Prefect knows that nothing is left of it.
    assert listed() == [found.run.id]
    with database.for_platform() as session:
        renew_leases(session, [found.run.lease_token], lease_s=60)
    assert listed() == []


def test_what_did_not_come_by_the_queue_starts_only_within_every_limit(database):
    workflow = simple_workflow(database, ACME)
    other = simple_workflow(database, ACME, name="Other")
    foreign = simple_workflow(database, GLOBEX)

    def limit(*, org: int | None = None, own: int | None = None, pause: str = "") -> None:
        with database.org(ACME) as session:
            set_org_limits(
                session,
                OrgLimits(weight=1, max_running=org, max_queued=None, is_paused=pause == "org"),
            )
            set_workflow_limits(
                session,
                workflow.id,
                WorkflowLimits(max_running=own, max_batch=None, is_paused=pause == "workflow"),
            )

    def may(org_id=ACME, workflow_id=workflow.id) -> bool:
        with database.for_platform() as session:
            return may_start(session, org_id, workflow_id)

    queue(database, ACME, workflow)
    with database.for_platform() as session:
        assert claim_run(session, worker="w", lease_s=60) is not None
    assert may()
    limit(own=1)
    assert not may()
    assert may(workflow_id=other.id)
    limit(own=2)
    assert may()
    limit(org=1)
    assert not may()
    assert not may(workflow_id=other.id)
    assert may(GLOBEX, foreign.id)
    limit(pause="org")
    assert not may()
    limit(pause="workflow")
    assert not may()
    assert may(workflow_id=other.id)


def test_a_worker_that_freezes_in_the_middle_of_claiming_does_not_keep_the_queue(database):
    queue(database, ACME, simple_workflow(database, ACME))
    frozen = open_database(
        app_url=database.app.url,
        platform_url=database.platform.url,
        audit_key=database.audit_key,
        idle_s=1,
    )

    def sleep_while_others_claim() -> None:
        with frozen.for_platform() as session:
            assert claim_run(session, worker="frozen", lease_s=60) is not None
            # It waits for the other one's locks, as long as PostgreSQL lets that one sleep.
            with database.for_platform() as other:
                assert claim_run(other, worker="awake", lease_s=60) is not None

    with pytest.raises(DatabaseUnreachable):
        sleep_while_others_claim()
    frozen.close()
