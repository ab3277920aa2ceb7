"""The queue's heads: never late, whatever comes and goes, and all that a claim needs to read."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event, text

from domain.clock import utc_now
from domain.errors import TenantryError
from domain.fairness import FairPlan
from domain.ids import OrgId, WorkflowId
from domain.limits import WorkflowLimits
from domain.lost_runs import Loss
from domain.queue_shares import OrgShare, Rules, WaitingLine, WorkerRoom, WorkflowShare
from domain.runs import ClaimedRun
from persistence.execution_batches import add_batch
from persistence.execution_cancel import request_cancel
from persistence.execution_intake import ExecutionWish
from persistence.execution_moves import requeue_executions
from persistence.limits import set_workflow_limits
from persistence.queue import Claimant, claim_runs
from persistence.queue_heads import MAX_LINES, sweep_heads
from persistence.sessions import Database, PlatformSession
from tests.persistence.test_queue import claim, end_runs, fill, of_org
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import simple_workflow

MANY = """
insert into organizations (id, name, slug)
    select 'org_many' || lpad(n::text, 4, '0'), n::text, 'many-' || n
    from generate_series(1, :orgs) n;
insert into workflows (id, org_id, name, slug, version)
    select 'wf_' || o.id || '_' || w, o.id, 'W' || w, 'w' || w, 1
    from organizations o, generate_series(1, 2) w where o.id like 'org_many%';
insert into workflow_versions (org_id, workflow_id, version, definition)
    select org_id, id, 1, '{}' from workflows where org_id like 'org_many%';
insert into executions (id, org_id, workflow_id, workflow_version, trigger, priority, input_data,
    created_at)
    select 'exec_' || w.id || '_' || n, w.org_id, w.id, 1, 'api', 1 + abs(hashtext(w.id)) % 5,
        '{"n": 1}', now() - abs(hashtext(w.id || 'age')) % 200 * interval '1 s'
    from workflows w, generate_series(1, 2) n where w.org_id like 'org_many%';
update queue_heads set clock = 100 + abs(hashtext(org_id)) % 997 / 10.0;
update queue_clock set time = 120"""


def late_heads(database: Database) -> int:
    with database.for_platform() as session:
        return sweep_heads(session)


def claimant(free_runs: int, *, runs: int = 16) -> Claimant:
    return Claimant(name="w", lease_s=60, runs=runs, free_runs=free_runs, free_executions=10**6)


@pytest.mark.parametrize("seed", range(3))
def test_a_head_is_never_late_whatever_comes_and_goes(database: Database, seed: int):
    drawn = random.Random(seed)
    flows = {org: simple_workflow(database, org) for org in (ACME, GLOBEX)}
    waiting = {org: list[str]() for org in flows}
    for _ in range(25):
        org = drawn.choice(list(flows))
        match drawn.choice(("add", "add", "claim", "cancel", "requeue")):
            case "add":
                priority = drawn.randint(1, 5)
                waiting[org] += fill(
                    database, org, flows[org], drawn.randint(1, 40), priority=priority
                )
            case "claim":
                end_runs(database, claim(database, runs=drawn.randint(1, 4), max_batch=20))
            case "cancel" if waiting[org]:
                with database.org(org, user_id=ADMIN) as session:
                    try:
                        request_cancel(session, drawn.choice(waiting[org]))  # type: ignore[arg-type]
                    except TenantryError:
                        continue
            case _:
                for lost in claim(database, runs=1, max_batch=10):
                    with database.org(lost.run.org_id) as session:
                        session.execute(
                            text("update runs set closed_at = now() where id = :id"),
                            {"id": lost.run.id},
                        )
                        requeue_executions(
                            session,
                            lost.execution_ids,
                            run_id=lost.run.id,
                            at=utc_now(),
                            loss=Loss(len(lost.execution_ids), was_asked=drawn.random() < 0.5),
                        )
        assert late_heads(database) == 0
    while runs := claim(database):
        end_runs(database, runs)
    with database.for_platform() as session:
        left = session.execute(text("select count(*) from queue_heads where first_3 is not null"))
        # What was lost twice waits beside the queue.
        waits = text(
            "select count(*) from executions"
            " where run_id is null and status = 'PENDING' and not is_isolated"
        )
        assert (left.scalar_one(), session.execute(waits).scalar_one()) == (0, 0)


def test_what_is_committed_while_a_claim_empties_the_queue_is_not_lost(database: Database):
    workflow = simple_workflow(database, ACME)
    fill(database, ACME, workflow, 5)
    with database.org(ACME, user_id=ADMIN) as session:
        wish = ExecutionWish(workflow=workflow.id, labels={})
        late = add_batch(session, wish, [{"n": 1}], batch_id="batch_late")
        assert of_org(claim(database)) == {ACME: 5}
    assert late_heads(database) == 0
    assert [run.execution_ids for run in claim(database)] == [late]


def test_heads_that_tell_nothing_are_found_by_the_first_claim(database: Database):
    fill(database, ACME, simple_workflow(database, ACME), 3)
    with database.for_platform() as session:
        session.execute(text("update queue_heads set first_3 = null"))
    assert of_org(claim(database)) == {ACME: 3}


def test_heads_are_swept_by_no_claim_while_one_tells_of_what_waits(database: Database):
    workflow = simple_workflow(database, ACME)
    fill(database, ACME, workflow, 3)
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, WorkflowLimits(is_paused=True))
    with statements_of(database) as said:
        for _ in range(3):
            assert claim(database) == []
    assert [each for each in said if "from organizations) o" in each] == []


def test_who_can_start_nothing_of_many_reads_them_in_few_steps(
    database: Database, superuser: Connection
):
    make_many(superuser, 300)
    superuser.execute(text("update workflow_versions set agent_types = '{another}'"))
    lacking = Claimant(
        name="w", lease_s=60, runs=16, free_runs=16, free_executions=9, agent_types=["probe"]
    )
    with statements_of(database) as said, database.for_platform() as session:
        assert claim_runs(session, lacking) == []
    assert 1 < sum("as best" in each for each in said) <= 5


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    """Collect the statements that the platform's role sends."""
    said: list[str] = []

    def note(*given: object) -> None:
        said.append(str(given[2]))

    event.listen(database.platform, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(database.platform, "before_cursor_execute", note)


def test_claimers_take_different_ones_of_many_organizations_without_waiting(
    database: Database, superuser: Connection
):
    make_many(superuser, 120)

    def claim_at_once(session: PlatformSession) -> set[str]:
        session.execute(text("set local lock_timeout = '100ms'"))
        return {run.run.org_id for run in claim_runs(session, claimant(16))}

    with database.for_platform() as one, database.for_platform() as other:
        first, second = claim_at_once(one), claim_at_once(other)
    assert len(first) == len(second) == 16
    assert not first & second


def test_fifty_claimers_take_everything_once_and_without_an_error(
    database: Database, superuser: Connection
):
    make_many(superuser, 120)

    def claim_all(_: int) -> list[str]:
        taken: list[str] = []
        while True:
            with database.for_platform() as session:
                runs = claim_runs(session, claimant(16))
            if not runs:
                return taken
            taken += [id for run in runs for id in run.execution_ids]
            end_runs(database, runs)

    with ThreadPoolExecutor(50) as pool:
        taken = [id for ids in pool.map(claim_all, range(50)) for id in ids]
    # Who meets nothing but heads that others hold stops: what is left, the next one takes.
    taken += claim_all(0)
    assert len(taken) == len(set(taken)) == 480


def test_a_claim_of_many_organizations_picks_what_a_plan_of_all_lines_would(
    database: Database, superuser: Connection
):
    make_many(superuser, 120)
    expected = [pick for _ in range(8) for pick in brute_force(database)]
    assert len(set(expected)) >= 4
    for _ in range(12):
        wanted = brute_force(database)
        runs = run_claim(database)
        assert [(r.run.org_id, r.run.workflow_id) for r in runs] == wanted
        end_runs(database, runs)


def run_claim(database: Database) -> list[ClaimedRun]:
    with database.for_platform() as session:
        return claim_runs(session, claimant(4), rules=Rules())


def brute_force(database: Database) -> list[tuple[str, str]]:
    """Plan with every line there is, as a claim for four runs would."""
    with database.for_platform() as session:
        heads = session.execute(text("select * from queue_heads")).all()
        lines = session.execute(
            text(
                "select org_id, workflow_id, workflow_version, priority, min(id) as id,"
                " extract(epoch from clock_timestamp() - min(created_at))::float as age,"
                " count(*) as waiting from executions where run_id is null"
                " and status = 'PENDING' group by 1, 2, 3, 4"
            )
        ).all()
        time = session.execute(text("select time from queue_clock")).scalar_one()
        singles = session.execute(text("select exists (select from runs)")).scalar_one()
    rules = Rules().beside_small_runs() if singles else Rules()
    counts = {(row.org_id, row.workflow_id, row.priority): row.waiting for row in lines}
    waiting: dict[OrgId, int] = {}
    for row in lines:
        waiting[row.org_id] = waiting.get(row.org_id, 0) + row.waiting
    room = WorkerRoom(runs=16, free_runs=4, free_executions=100, all_runs=4)
    plan = FairPlan(
        [
            WaitingLine(
                org_id=row.org_id,
                workflow_id=row.workflow_id,
                version=row.workflow_version,
                priority=row.priority,
                oldest_id=row.id,
                oldest_age_s=row.age,
            )
            for row in lines
        ],
        {
            OrgId(row.org_id): OrgShare(weight=row.weight, clock=row.clock, taken=row.taken)
            for row in heads
        },
        {WorkflowId(row.workflow_id): WorkflowShare() for row in lines},
        room,
        time,
        rules,
    )
    picks: list[tuple[str, str]] = []
    while (pick := plan.choose()) is not None:
        line = pick.line
        count = min(plan.size(pick, waiting), counts[line.org_id, line.workflow_id, line.priority])
        plan.take(pick, count, is_empty=True)
        picks.append((line.org_id, line.workflow_id))
    return picks


def make_many(superuser: Connection, orgs: int) -> None:
    for statement in MANY.split(";\n"):
        superuser.execute(text(statement), {"orgs": orgs} if ":orgs" in statement else {})


def test_who_is_at_the_limit_of_its_workflow_is_looked_at_when_a_run_ends(database: Database):
    workflow = simple_workflow(database, ACME)
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, WorkflowLimits(max_running=2))
    fill(database, ACME, workflow, 5)
    first = claim(database)
    assert of_org(first) == {ACME: 2}
    assert claim(database) == []
    assert is_passed_over(database)
    end_runs(database, first)
    assert not is_passed_over(database)
    second = claim(database)
    assert of_org(second) == {ACME: 2}
    assert claim(database) == []
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, WorkflowLimits())
    assert of_org(claim(database)) == {ACME: 1}


def is_passed_over(database: Database) -> bool:
    with database.for_platform() as session:
        found = session.execute(
            text("select retry_at is not null from queue_heads where org_id = :id"), {"id": ACME}
        )
        return found.scalar_one()


def test_an_organization_with_more_lines_than_a_claim_reads_is_served_from_all(
    database: Database,
):
    with database.org(ACME, user_id=ADMIN) as session:
        session.execute(
            text(
                "insert into workflows (id, org_id, name, slug, version, paused_at)"
                " select 'wf_' || lpad(n::text, 26, '0'), 'org_acme', 'W' || n, 'w' || n, 1,"
                " case when n <= :most then now() end from generate_series(1, :all) n"
            ),
            {"most": MAX_LINES + 10, "all": MAX_LINES + 20},
        )
        session.execute(
            text(
                "insert into workflow_versions (org_id, workflow_id, version, definition)"
                " select org_id, id, 1, '{}' from workflows"
            )
        )
        session.execute(
            text(
                "insert into executions (id, org_id, workflow_id, workflow_version, trigger,"
                " input_data) select 'exec_' || id, org_id, id, 1, 'api', '{}' from workflows"
            )
        )
    served = [len(claim(database)) for _ in range(4)]
    assert sum(served) == 10
