"""How the queue served organizations: exact figures of what started and ended of late."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from domain.catalog import Workflow
from domain.clock import utc_now
from domain.ids import OrgId
from domain.limits import OrgLimits
from domain.served import OrgService, PlatformService
from persistence.limits import set_org_limits
from persistence.served import measure_queue_of_org, measure_service
from persistence.sessions import Database
from tests.persistence.test_queue import claim, fill
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import simple_workflow

# Executions at times of our choice, which only a superuser can write.
PAST = text("""
insert into executions (id, org_id, workflow_id, workflow_version, status, trigger, input_data,
    created_at, started_at, completed_at, error_code, error, error_hint)
select 'exec_' || :org || '_' || :status || extract(epoch from cast(:at as timestamptz)) || n,
    :org, :workflow, 1, :status, 'api', '{}', cast(:at as timestamptz),
    case when :wait_s is not null then cast(:at as timestamptz) + n * :wait_s * interval '1 s' end,
    case when :status not in ('PENDING', 'RUNNING', 'PAUSED') then cast(:at as timestamptz)
        + (n * coalesce(:wait_s, 0) + 0.5) * interval '1 s' end,
    case when :status = 'FAILED' then 'agent.failed' end,
    case when :status = 'FAILED' then 'x' end, case when :status = 'FAILED' then 'x' end
from generate_series(1, :count) n
""").bindparams()
Past = Callable[..., None]


@pytest.fixture
def workflows(database: Database) -> dict[OrgId, Workflow]:
    return {org_id: simple_workflow(database, org_id) for org_id in (ACME, GLOBEX)}


@pytest.fixture
def past(superuser: Connection, workflows: dict[OrgId, Workflow]) -> Past:
    def add(
        org_id: OrgId, count: int, *, ago_s: float, wait_s: float | None = 0.1, status="COMPLETED"
    ) -> None:
        at: datetime = utc_now() - timedelta(seconds=ago_s)
        values = {"org": org_id, "workflow": workflows[org_id].id, "status": status, "at": at}
        superuser.execute(
            text(PAST.text.replace(":wait_s", "cast(:wait_s as double precision)")),
            {**values, "count": count, "wait_s": wait_s},
        )

    return add


def measure(database: Database, window_s: int = 300) -> PlatformService:
    with database.for_platform() as session:
        return measure_service(session, window_s=window_s)


def of(found: PlatformService, org_id: OrgId) -> OrgService:
    return next(each for each in found.orgs if each.org_id == org_id)


def test_starts_ends_and_waits_are_those_of_the_window(database: Database, past: Past):
    past(ACME, 100, ago_s=60)
    past(ACME, 40, ago_s=900)
    past(GLOBEX, 300, ago_s=60)
    found = measure(database)
    acme = of(found, ACME)
    assert (acme.started, acme.completed) == (100, 100)
    assert (acme.wait_p50_s, acme.wait_p95_s) == pytest.approx((5.05, 9.505), abs=1e-3)
    assert found.completed.of(ACME) == pytest.approx(0.25)
    assert found.completed.index == pytest.approx(400**2 / (2 * (100**2 + 300**2)))
    assert found.completed.index_of_fair_parts == pytest.approx(1)
    assert of(measure(database, window_s=3_600), ACME).completed == 140


def test_what_waited_since_before_the_window_counts_when_it_starts(database: Database, past: Past):
    past(ACME, 1, ago_s=400, wait_s=390.0)
    acme = of(measure(database), ACME)
    assert (acme.started, acme.wait_p50_s) == (1, pytest.approx(390, abs=0.01))
    with database.org(ACME) as session:
        own = measure_queue_of_org(session, since=utc_now() - timedelta(seconds=300))
    assert (own.started, own.completed, own.wait_p95_s) == (1, 1, pytest.approx(390, abs=0.01))


def test_what_was_cancelled_is_nothing_that_was_done(database: Database, past: Past):
    past(ACME, 5, ago_s=60, status="CANCELLED", wait_s=None)
    past(ACME, 3, ago_s=60, status="CANCELLED")
    past(ACME, 2, ago_s=60, status="FAILED")
    acme = of(measure(database), ACME)
    assert (acme.started, acme.completed) == (5, 2)


def test_what_runs_has_started_and_not_ended(database: Database, past: Past):
    past(ACME, 4, ago_s=60, status="RUNNING")
    past(ACME, 2, ago_s=900, status="PAUSED")
    acme = of(measure(database), ACME)
    assert (acme.started, acme.completed) == (4, 0)


def test_who_waits_while_another_one_is_served_lowers_the_index(
    database: Database, past: Past, workflows: dict[OrgId, Workflow]
):
    past(ACME, 50, ago_s=10)
    fill(database, GLOBEX, workflows[GLOBEX], 50)
    found = measure(database)
    assert of(found, GLOBEX).waiting == 50
    assert found.completed.index == pytest.approx(0.5)
    # What is done could have been dealt out evenly, and one got all of it.
    assert found.completed.index_of_fair_parts == pytest.approx(0.5)
    with database.org(GLOBEX, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(is_paused=True))
    assert measure(database).completed.index == 1


def test_who_is_at_its_own_limit_asks_for_nothing_more(
    database: Database, past: Past, workflows: dict[OrgId, Workflow]
):
    past(ACME, 50, ago_s=10)
    fill(database, GLOBEX, workflows[GLOBEX], 50)
    with database.org(GLOBEX, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(max_running=10))
    assert not of(measure(database), GLOBEX).is_held
    claim(database)
    globex = of(measure(database), GLOBEX)
    assert (globex.is_held, globex.running, globex.waiting) == (True, 10, 40)


def test_weights_are_those_that_are_set(database: Database, past: Past):
    past(ACME, 300, ago_s=60)
    past(GLOBEX, 100, ago_s=60)
    with database.org(ACME, user_id=ADMIN) as session:
        set_org_limits(session, OrgLimits(weight=3))
    assert measure(database).completed.index == pytest.approx(1)


def test_an_empty_platform_has_figures(database: Database):
    found = measure(database)
    assert (list(found.orgs), found.wait_p50_s, found.completed.index) == ([], None, 1)


def test_the_queues_figures_are_an_organizations_own(
    database: Database, workflows: dict[OrgId, Workflow], past: Past
):
    past(GLOBEX, 20, ago_s=30)
    fill(database, ACME, workflows[ACME], 7)
    fill(database, GLOBEX, workflows[GLOBEX], 9)
    claim(database, runs=1, max_batch=3)
    with database.org(ACME) as session:
        found = measure_queue_of_org(session, since=utc_now() - timedelta(hours=1))
    assert found.waiting + found.running == 7
    assert found.oldest_age_s >= 0
    assert (found.started, found.completed, found.wait_p50_s) == (0, 0, None)


def test_figures_are_read_from_their_index(superuser: Connection, database: Database, past: Past):
    """Of a hundred thousand that ended long ago none is looked at."""
    for org_id in (ACME, GLOBEX):
        past(org_id, 20_000, ago_s=90_000, wait_s=0.0001)
    past(ACME, 10, ago_s=10)
    superuser.execute(text("vacuum analyze executions"))
    before = superuser.execute(READ).scalar_one()
    found = measure(database)
    assert of(found, ACME).completed == 10
    superuser.execute(text("select pg_stat_clear_snapshot()"))
    # A session that does nothing more tells what it has read after ten seconds.
    deadline = utc_now() + timedelta(seconds=40)
    while (read := superuser.execute(READ).scalar_one() - before) < 10 and utc_now() < deadline:
        superuser.execute(text("select pg_stat_clear_snapshot()"))
    assert 10 <= read < 1_000


READ = text("""
select seq_tup_read + coalesce((select sum(idx_tup_read) from pg_stat_user_indexes
    where relname = 'executions'), 0)
from pg_stat_user_tables where relname = 'executions'
""")
