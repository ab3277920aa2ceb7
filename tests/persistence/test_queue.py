"""The queue: fair, within limits, whoever claims at the same time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from domain.catalog import Workflow
from domain.errors import TenantryError
from domain.ids import ExecutionId, OrgId
from domain.limits import OrgLimits, QueueFull, WorkflowLimits
from domain.queue_shares import Rules
from domain.runs import ClaimedRun
from domain.waiting import BlockerKind, PauseScope, find_blockers
from persistence.audit import list_audit
from persistence.execution_batches import add_batch
from persistence.execution_cancel import request_cancel
from persistence.execution_intake import SingleWish, add_requested
from persistence.execution_targets import ExecutionWish
from persistence.limits import set_org_limits, set_workflow_limits
from persistence.pauses import add_pause, list_pauses, remove_pause
from persistence.queue import Claimant, claim_runs, forget_worker, may_start, note_worker
from persistence.sessions import Database
from persistence.waiting import WorkersSeen, find_place, see_workers
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import simple_workflow


def fill(
    database: Database, org_id: OrgId, workflow: Workflow, count: int, *, priority: int = 3
) -> list[ExecutionId]:
    wish = ExecutionWish(workflow=workflow.id, priority=priority, labels={})
    with database.org(org_id, user_id=ADMIN) as session:
        inputs = [{"n": number} for number in range(count)]
        return add_batch(session, wish, inputs, batch_id="batch_test")


def claim(
    database: Database, *, runs: int = 1_000, executions: int = 10**6, **rules: float
) -> list[ClaimedRun]:
    claimant = Claimant(name="w", lease_s=60, runs=runs, free_runs=runs, free_executions=executions)
    with database.for_platform() as session:
        return claim_runs(session, claimant, rules=Rules(**rules))  # type: ignore[arg-type]


def end_runs(database: Database, runs: list[ClaimedRun]) -> None:
    """Make room: the runs are over, whatever became of their executions."""
    for each in runs:
        with database.org(each.run.org_id) as session:
            session.execute(
                text("update runs set closed_at = now() where id = :id"), {"id": each.run.id}
            )
            session.execute(
                text(
                    "update executions set status = 'CANCELLED', completed_at = now()"
                    " where run_id = :id"
                ),
                {"id": each.run.id},
            )


def of_org(runs: list[ClaimedRun]) -> Counter[str]:
    taken: Counter[str] = Counter()
    for each in runs:
        taken[each.run.org_id] += len(each.execution_ids)
    return taken


def test_one_claim_takes_many_executions_of_one_workflow_into_one_run(database: Database):
    workflow = simple_workflow(database, ACME)
    ids = fill(database, ACME, workflow, 120)
    (run,) = claim(database, max_batch=500)
    assert list(run.execution_ids) == ids
    with database.org(ACME) as session:
        size = session.execute(text("select size from runs")).scalar_one()
    assert size == 120


def test_a_workflow_may_opt_out_of_sharing_a_run(database: Database):
    workflow = simple_workflow(database, ACME)
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, WorkflowLimits(max_batch=1))
    fill(database, ACME, workflow, 5)
    assert [len(run.execution_ids) for run in claim(database)] == [1] * 5


def test_two_organizations_get_equal_turns(database: Database):
    for org_id in (ACME, GLOBEX):
        fill(database, org_id, simple_workflow(database, org_id), 400)
    served: Counter[str] = Counter()
    for _ in range(20):
        runs = claim(database, runs=2, max_batch=500)
        served += of_org(runs)
        end_runs(database, runs)
        assert abs(served[ACME] - served[GLOBEX]) <= 40
    assert served == {ACME: 400, GLOBEX: 400}


def test_weights_make_shares(database: Database):
    for org_id in (ACME, GLOBEX):
        fill(database, org_id, simple_workflow(database, org_id), 2_000)
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(weight=3))
    served: Counter[str] = Counter()
    for _ in range(24):
        runs = claim(database, runs=1, max_batch=50)
        served += of_org(runs)
        end_runs(database, runs)
    assert served[ACME] / served.total() == pytest.approx(0.75, rel=0.05)


def test_a_share_is_as_large_as_the_weight(database: Database):
    """So that whoever has more weight is ahead by it after each round, and not only in the end."""
    for org_id in (ACME, GLOBEX):
        fill(database, org_id, simple_workflow(database, org_id), 4_000)
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(weight=4))
    first, second = claim(database, runs=3, executions=1_000)
    assert of_org([first, second]) == {ACME: 500, GLOBEX: 125}


def test_little_beside_much_weight_does_not_make_shares_small(database: Database):
    for org_id, count in ((ACME, 5), (GLOBEX, 4_000)):
        fill(database, org_id, simple_workflow(database, org_id), count)
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(weight=100))
    assert of_org(claim(database, runs=3, executions=1_000))[GLOBEX] == 500


def test_a_second_execution_of_a_light_one_starts_though_the_room_is_taken(database: Database):
    heavy, light = (simple_workflow(database, org_id) for org_id in (ACME, GLOBEX))
    fill(database, ACME, heavy, 3_000)
    claim(database, runs=16, executions=1_000)
    for free_runs in (13, 12):
        fill(database, GLOBEX, light, 1)
        claimant = Claimant(name="w", lease_s=60, runs=16, free_runs=free_runs, free_executions=0)
        with database.for_platform() as session:
            assert of_org(claim_runs(session, claimant)) == {GLOBEX: 1}


def test_who_comes_alone_with_much_gets_the_rest_a_moment_later(database: Database):
    fill(database, ACME, simple_workflow(database, ACME), 300)
    assert of_org(claim(database, opening_s=60.0)) == {ACME: 30}
    assert of_org(claim(database, opening_s=60.0)) == {}
    fill(database, GLOBEX, simple_workflow(database, GLOBEX), 300)
    assert of_org(claim(database, runs=3, opening_s=60.0)) == {GLOBEX: 30}


def test_who_comes_alone_with_little_gets_all_of_it(database: Database):
    fill(database, ACME, simple_workflow(database, ACME), 250)
    assert of_org(claim(database, opening_s=60.0)) == {ACME: 250}


def test_who_is_a_share_ahead_waits_for_who_has_just_begun(database: Database):
    for org_id in (ACME, GLOBEX):
        fill(database, org_id, simple_workflow(database, org_id), 300)
    first = claim(database, runs=3, is_in_step=True)
    assert of_org(first) == {ACME: 30, GLOBEX: 30}
    end_runs(database, first[:1])
    assert claim(database, runs=3, is_in_step=True) == []
    with database.for_platform() as session:
        # Its agents take long: nobody waits for that.
        session.execute(text("update runs set started_at = now() - interval '5 s'"))
    assert of_org(claim(database, runs=2, is_in_step=True)) == {first[0].run.org_id: 30}


def test_who_comes_late_has_no_more_credit_than_one_run(database: Database):
    acme, globex = (simple_workflow(database, org_id) for org_id in (ACME, GLOBEX))
    fill(database, ACME, acme, 600)
    for _ in range(10):
        end_runs(database, claim(database, runs=1, max_batch=30))
    fill(database, GLOBEX, globex, 300)
    served: Counter[str] = Counter()
    for _ in range(10):
        runs = claim(database, runs=1, max_batch=30)
        served += of_org(runs)
        end_runs(database, runs)
    assert abs(served[GLOBEX] - served[ACME]) <= 60


def test_limits_hold_however_many_claim_at_a_cold_start(database: Database):
    workflow = simple_workflow(database, ACME)
    fill(database, ACME, workflow, 500)
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(max_running=37))
    with database.for_platform() as session:
        note_worker(session, "w", slots=100, life_s=60)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: claim(database, max_batch=10), range(8)))
    assert sum(len(run.execution_ids) for runs in found for run in runs) == 37


def test_a_limit_that_is_changed_counts_from_the_next_claim_on(database: Database):
    workflow = simple_workflow(database, ACME)
    fill(database, ACME, workflow, 50)
    for limits, expected in (
        (WorkflowLimits(is_paused=True), 0),
        (WorkflowLimits(max_running=4), 4),
        (WorkflowLimits(max_running=6), 2),
        (WorkflowLimits(), 44),
    ):
        with database.org(ACME, user_id=ADMIN) as session:
            set_workflow_limits(session, workflow.id, limits)
        assert of_org(claim(database)).total() == expected
    with database.org(ACME) as session:
        actions = [item.entry.action for item in list_audit(session)]
    assert actions.count("workflow.limits_set") == 4


def test_another_workflow_goes_on_while_one_is_at_its_limit(database: Database):
    full, free = (simple_workflow(database, ACME, name=name) for name in ("Full", "Free"))
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, full.id, WorkflowLimits(max_running=0))
    fill(database, ACME, full, 5)
    fill(database, ACME, free, 5)
    assert {run.run.workflow_id for run in claim(database)} == {free.id}


def test_priorities_come_in_order_and_age(database: Database):
    workflow = simple_workflow(database, ACME)
    low = fill(database, ACME, workflow, 2, priority=5)
    high = fill(database, ACME, workflow, 2, priority=1)
    assert [list(run.execution_ids) for run in claim(database)] == [high, low]
    old = fill(database, ACME, workflow, 1, priority=5)
    with database.org(ACME) as session:
        session.execute(
            text("update executions set created_at = now() - interval '5 minutes' where id = :id"),
            {"id": old[0]},
        )
    new = fill(database, ACME, workflow, 1, priority=1)
    assert [list(run.execution_ids) for run in claim(database, ageing_s=60)] == [old, new]


def test_what_was_called_off_or_is_too_late_is_not_claimed(database: Database):
    workflow = simple_workflow(database, ACME)
    late, called_off, good = fill(database, ACME, workflow, 3)
    with database.org(ACME, user_id=ADMIN) as session:
        request_cancel(session, called_off)
        session.execute(
            text("update executions set deadline = now() - interval '1 s' where id = :id"),
            {"id": late},
        )
    assert [list(run.execution_ids) for run in claim(database)] == [[good]]


def test_a_full_queue_refuses_what_is_new_and_knows_what_is_old(database: Database):
    workflow = simple_workflow(database, ACME)

    def wish(key: str) -> SingleWish:
        return SingleWish(workflow=workflow.id, labels={}, input_data={"n": 1}, idempotency_key=key)

    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(max_queued=3))
        first = add_requested(session, [wish("a"), wish("b")])
    with database.org(ACME, user_id=ADMIN) as session:
        again, third, fourth = add_requested(session, [wish("a"), wish("c"), wish("d")])
    assert again.execution.id == first[0].execution.id
    refused = [each for each in (third, fourth) if isinstance(each, TenantryError)]
    assert [type(each) for each in refused] == [QueueFull]
    with database.org(ACME, user_id=ADMIN) as session, pytest.raises(QueueFull):
        add_batch(session, ExecutionWish(workflow=workflow.id, labels={}), [{}], batch_id="b")
    claim(database)
    with database.org(ACME, user_id=ADMIN) as session:
        add_batch(session, ExecutionWish(workflow=workflow.id, labels={}), [{}] * 3, batch_id="b")


def test_a_worker_with_room_for_few_takes_few_and_keeps_one_for_newcomers(database: Database):
    heavy = simple_workflow(database, ACME)
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, heavy.id, WorkflowLimits(max_batch=1))
    fill(database, ACME, heavy, 20)
    assert of_org(claim(database, runs=4)) == {ACME: 3}
    fill(database, GLOBEX, simple_workflow(database, GLOBEX), 1)
    claimant = Claimant(name="w", lease_s=60, runs=4, free_runs=1, free_executions=100)
    with database.for_platform() as session:
        assert of_org(claim_runs(session, claimant)) == {GLOBEX: 1}


def blockers(database: Database, id: ExecutionId) -> list[BlockerKind]:
    with database.for_platform() as session:
        seen = see_workers(session)
    with database.org(ACME) as session:
        facts = find_place(session, id, seen)
    return [blocker.kind for blocker in find_blockers(facts)]


def test_it_is_told_why_an_execution_waits(database: Database):
    workflow = simple_workflow(database, ACME)
    ids = fill(database, ACME, workflow, 3)
    assert blockers(database, ids[2]) == [BlockerKind.NO_WORKER, BlockerKind.BEHIND_OTHERS]
    with database.for_platform() as session:
        note_worker(session, "w", slots=4, life_s=60)
    assert blockers(database, ids[0]) == [BlockerKind.NEXT]
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(max_running=1, is_paused=True))
    assert blockers(database, ids[0]) == [BlockerKind.ORGANIZATION_PAUSED]
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(max_running=1))
    claim(database)
    assert blockers(database, ids[0]) == [BlockerKind.STARTING]
    assert blockers(database, ids[1]) == [BlockerKind.ORGANIZATION_LIMIT]
    with database.org(ACME, user_id=ADMIN) as session:
        request_cancel(session, ids[2])
    assert blockers(database, ids[2]) == [BlockerKind.ENDED]
    with database.for_platform() as session:
        forget_worker(session, "w")
        session.execute(
            text(
                "update steward_status set round_at = now(),"
                ' troubles = \'{"publish": "prefect.unreachable"}\''
            )
        )
    assert blockers(database, ids[1])[:2] == [BlockerKind.NO_WORKER, BlockerKind.PREFECT_AWAY]


def test_nothing_of_other_organizations_is_told_of_a_place(database: Database):
    fill(database, GLOBEX, simple_workflow(database, GLOBEX), 50)
    claim(database, runs=1, max_batch=10)
    (id,) = fill(database, ACME, simple_workflow(database, ACME), 1)
    with database.org(ACME) as session:
        facts = find_place(session, id, WorkersSeen(0, is_prefect_away=False))
    assert (facts.ahead, facts.org_running, list(facts.busiest)) == (0, 0, [])


def test_beside_small_runs_a_worker_carries_one_batch_that_is_not_large(database: Database):
    """Whoever asks for one execution now and then is not held up by what another has queued."""
    light, heavy = simple_workflow(database, GLOBEX), simple_workflow(database, ACME)
    fill(database, GLOBEX, light, 1)
    end_runs(database, claim(database))
    fill(database, ACME, heavy, 1_000)
    assert [len(run.execution_ids) for run in claim(database, max_batch=500)] == [100]
    with database.for_platform() as session:
        full = Claimant(
            name="w", lease_s=60, runs=16, free_runs=15, free_executions=1_900, carried=100
        )
        assert claim_runs(session, full, rules=Rules(max_batch=500)) == []
    fill(database, GLOBEX, light, 1)
    assert of_org(claim(database, executions=1_900)) == {GLOBEX: 1, ACME: 100}


def test_when_small_runs_are_long_over_batches_are_large_again(database: Database):
    light, heavy = simple_workflow(database, GLOBEX), simple_workflow(database, ACME)
    fill(database, GLOBEX, light, 1)
    end_runs(database, claim(database))
    with database.org(GLOBEX) as session:
        session.execute(text("update runs set closed_at = closed_at - interval '1 minute'"))
    fill(database, ACME, heavy, 1_000)
    assert [len(run.execution_ids) for run in claim(database, max_batch=500)] == [500, 500]


def test_whoever_has_just_come_with_single_ones_gets_large_batches_of_its_own(database: Database):
    workflow = simple_workflow(database, ACME)
    fill(database, ACME, workflow, 1)
    end_runs(database, claim(database))
    fill(database, ACME, workflow, 1_000)
    first = claim(database, runs=1, max_batch=500)
    then = claim(database, runs=1, max_batch=500)
    assert [len(run.execution_ids) for run in (*first, *then)] == [100, 500]


@pytest.mark.parametrize("scope", list(PauseScope))
def test_while_the_installation_or_the_pool_is_paused_nothing_is_claimed_or_adopted(
    database: Database, scope: PauseScope
):
    workflow = simple_workflow(database, ACME)
    (waiting, *_) = fill(database, ACME, workflow, 3)
    with database.for_platform() as session:
        add_pause(session, scope, by=ADMIN, reason="upgrade")
    assert claim(database) == []
    with database.for_platform() as session:
        assert not may_start(session, ACME, workflow.id)
        seen = see_workers(session)
    with database.org(ACME) as session:
        blockers = find_blockers(find_place(session, waiting, seen))
    assert blockers[0].kind.value == f"{scope.value}_paused"

    with database.for_platform() as session:
        assert remove_pause(session, scope)
        assert remove_pause(session, scope) is None
        assert may_start(session, ACME, workflow.id)
    assert sum(len(run.execution_ids) for run in claim(database, max_batch=50)) == 3


def test_pausing_again_keeps_the_time_and_the_reason_of_the_first(database: Database):
    with database.for_platform() as session:
        first = add_pause(session, PauseScope.INSTALLATION, by=ADMIN, reason="upgrade")
    with database.for_platform() as session:
        again = add_pause(session, PauseScope.INSTALLATION, by="other")
        assert again == first
        assert list_pauses(session) == [first]
