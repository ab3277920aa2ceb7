"""Tenants are held apart by the database: raw SQL as our role, with every table filled."""

import json
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from psycopg import errors
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.drift import Drift, DriftKind
from domain.ids import OrgId, new_agent_run_id
from domain.outcomes import AgentOutcome, AgentValue
from domain.runs import RunState, StateType
from persistence.agent_runs import add_agent_runs
from persistence.connectors import set_connector, set_dataset
from persistence.drift_log import Repair, add_repairs
from persistence.idempotency import claim_key
from persistence.queue import claim_run
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from persistence.run_losses import add_isolations
from persistence.runs import add_states
from persistence.schedules import add_schedule
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import queue, simple_workflow

ORG_TABLES = text(
    "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid "
    "where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace "
    "and a.attname = 'org_id' and not a.attisdropped order by 1"
)
ALL_TABLES = text(
    "select relname from pg_class where relkind in ('r', 'p') "
    "and relnamespace = 'public'::regnamespace and relname <> 'alembic_version' order by 1"
)


@pytest.fixture
def both_full(database: Database) -> Database:
    """Rows of Acme and of Globex in every table."""
    for org_id in (ACME, GLOBEX):
        fill_every_table(database, org_id)
    return database


@pytest.fixture
def as_app(database_url, both_full: Database) -> Iterator[Connection]:
    engine = create_engine(derive_role_url(database_url, APP_ROLE), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def fill_every_table(database: Database, org_id: OrgId) -> None:
    workflow = simple_workflow(database, org_id)
    execution = queue(database, org_id, workflow)
    with database.org(org_id) as session:
        labels = json.dumps({"label": org_id})
        session.execute(
            text("update executions set labels = :labels where id = :id"),
            {"labels": labels, "id": execution.id},
        )
        claim_key(session, "probe", f"{org_id} key", b"hash")
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60)
    assert claimed is not None
    assert claimed.run.org_id == org_id
    now = utc_now()
    answer = AgentRun(
        id=new_agent_run_id(),
        execution_id=claimed.execution_ids[0],
        run_id=claimed.run.id,
        agent_name="Step 1",
        attempt=1,
        outcome=AgentOutcome(value=AgentValue({"secret": org_id})),
        started_at=now,
        completed_at=now,
    )
    drift = Drift(kind=DriftKind.STATE_BEHIND, org_id=org_id, subject="r", here="a", there="b")
    with database.for_platform() as session:
        add_repairs(session, [Repair(drift, "mirrored", is_repaired=True)])
    with database.org(org_id, user_id=ADMIN) as session:
        set_connector(session, "crm", {"kind": "dataset"})
        set_dataset(session, "companies", b"parquet", row_count=1)
        add_token(session, ADMIN, name="t", expires_at=now + timedelta(days=1))
        add_schedule(
            session, workflow.id, cron="0 8 * * *", timezone="UTC", input_data={"text": "x"}
        )
        add_states(session, claimed.run.id, [RunState(uuid4(), StateType.RUNNING, "Running", now)])
        add_agent_runs(session, claimed.run, "Step 1", [answer])
        session.execute(text("update executions set is_isolated = true"))
        add_isolations(session, claimed.execution_ids)


def tables(connection: Connection, query: object) -> list[str]:
    return list(connection.execute(query).scalars())  # type: ignore[call-overload]


def act_for(connection: Connection, org_id: str) -> None:
    connection.execute(text("select set_config('app.org_id', :org, true)"), {"org": org_id})


def test_every_table_holds_rows_of_both_organizations(database_url, cluster, both_full):
    with create_engine(cluster.as_superuser(database_url), poolclass=NullPool).connect() as c:
        for table in tables(c, ORG_TABLES):
            orgs = set(c.execute(text(f"select org_id from {table}")).scalars())
            assert {ACME, GLOBEX} <= orgs, table


def test_with_acme_set_no_row_of_globex_is_found_in_any_table(as_app: Connection):
    act_for(as_app, ACME)
    names = tables(as_app, ORG_TABLES)
    assert len(names) >= 12
    for table in names:
        found = as_app.execute(text(f"select distinct org_id from {table}")).scalars().all()
        assert found == [ACME], table
    assert as_app.execute(text("select id from organizations")).scalars().all() == [ACME]


def test_with_no_organization_set_no_table_shows_a_row(as_app: Connection):
    for table in tables(as_app, ALL_TABLES):
        assert as_app.execute(text(f"select count(*) from {table}")).scalar() == 0, table


@pytest.mark.parametrize("value", ["", "org_nobody", "%", "org_acme' or '1'='1"])
def test_a_setting_that_names_no_organization_shows_nothing(as_app: Connection, value: str):
    act_for(as_app, value)
    for table in tables(as_app, ORG_TABLES):
        assert as_app.execute(text(f"select count(*) from {table}")).scalar() == 0, table


def test_a_row_of_globex_cannot_be_inserted_for_acme_in_any_table(as_app: Connection, subtests):
    names = tables(as_app, ORG_TABLES)
    as_app.rollback()
    for table in names:
        with subtests.test(table=table):
            act_for(as_app, ACME)
            copy = (
                f"insert into {table} select (jsonb_populate_record(t, "
                f"jsonb_build_object('org_id', 'org_globex'))).* from {table} t limit 1"
            )
            with pytest.raises(DBAPIError) as refused:
                as_app.execute(text(copy))
            assert isinstance(refused.value.orig, errors.InsufficientPrivilege), table
            as_app.rollback()


def test_a_row_of_acme_cannot_be_given_to_globex(as_app: Connection, subtests):
    names = tables(as_app, ORG_TABLES)
    as_app.rollback()
    for table in names:
        with subtests.test(table=table):
            act_for(as_app, ACME)
            with pytest.raises(DBAPIError) as refused:
                as_app.execute(text(f"update {table} set org_id = 'org_globex'"))
            assert isinstance(refused.value.orig, errors.InsufficientPrivilege), table
            as_app.rollback()


def test_every_table_with_an_org_id_has_forced_policies(database_url, both_full):
    query = text(
        "select c.relname, c.relrowsecurity and c.relforcerowsecurity as forced, "
        "count(p.*) filter (where 'tenantry_app' = any(p.roles)) as policies "
        "from pg_class c left join pg_policies p on p.tablename = c.relname "
        "where c.relname = any(:names) group by 1, 2"
    )
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        names = [*tables(connection, ORG_TABLES), "organizations", "users"]
        rows = connection.execute(query, {"names": names}).all()
    assert {row.relname for row in rows} == set(names)
    assert [row for row in rows if not row.forced or row.policies < 1] == []


def test_neither_role_owns_a_table_or_is_exempt_from_policies(as_app: Connection):
    exempt = text(
        "select rolname from pg_roles where rolname like 'tenantry_%' "
        "and (rolsuper or rolbypassrls)"
    )
    owners = text("select distinct tableowner from pg_tables where schemaname = 'public'")
    assert as_app.execute(exempt).all() == []
    assert as_app.execute(owners).scalars().all() == ["tenantry_owner"]


def test_the_owner_without_an_organization_sees_no_row_either(database_url, both_full):
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        for table in tables(connection, ORG_TABLES):
            assert connection.execute(text(f"select count(*) from {table}")).scalar() == 0


def test_the_platform_role_reads_no_payload(database_url, both_full, subtests):
    engine = create_engine(derive_role_url(database_url, PLATFORM_ROLE), poolclass=NullPool)
    payloads = (
        "select input_data from executions",
        "select output from executions",
        "select * from agent_runs",
        "select * from audit_logs",
        "select content from datasets",
        "select settings from connectors",
    )
    with engine.connect() as connection:
        for statement in payloads:
            with subtests.test(statement=statement):
                with pytest.raises(DBAPIError) as refused:
                    connection.execute(text(statement))
                assert isinstance(refused.value.orig, errors.InsufficientPrivilege)
                connection.rollback()


def test_an_organization_does_not_outlive_its_transaction_on_a_pooled_connection(
    database: Database,
):
    with database.org(ACME) as session:
        pid = session.scalar(text("select pg_backend_pid()"))
    with database.app.connect() as connection:
        assert connection.scalar(text("select pg_backend_pid()")) == pid
        assert connection.scalar(text("select current_setting('app.org_id', true)")) in (None, "")
