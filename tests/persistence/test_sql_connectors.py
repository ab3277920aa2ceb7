"""Records of a real PostgreSQL: everything that can be selected is read, every failure is named."""

import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr
from sqlalchemy import URL, Connection, text

from agents.connectors.definitions import SqlConnector
from agents.connectors.limits import ReadLimits
from agents.connectors.opening import OrgConnectors
from agents.registry import default_registry
from domain.addresses import AddressRules
from domain.errors import ErrorCode, TenantryError
from flows.connectors import make_connectors
from flows.runtime import Runtime
from persistence.connectors import set_connector
from persistence.sessions import Database
from tests.support.databases import ACME, Cluster

LOCAL = AddressRules(allowed=(ip_network("127.0.0.0/8"),))
Load = Callable[..., pd.DataFrame]


@pytest.fixture
def crm(superuser: Connection) -> Connection:
    """The database of a tenant, as its administrator."""
    superuser.execute(text("create schema crm"))
    return superuser


@pytest.fixture
def load(cluster: Cluster, database_url: URL, tmp_path: Path) -> Load:
    url = cluster.as_superuser(database_url)

    def load(object_type: str, *, own: URL = url, rules: AddressRules = LOCAL, **limits: float):
        definition = SqlConnector(
            kind="sql",
            url=SecretStr(own.render_as_string(hide_password=False)),
            schema_name="crm",
        )
        return (
            OrgConnectors(
                {"crm": definition},
                data_root=tmp_path,
                read_dataset=lambda _name: None,
                rules=rules,
                limits=ReadLimits(**limits),  # type: ignore[arg-type]
            )
            .open("crm")
            .load(object_type)
        )

    return load


def refused(load: Load, code: ErrorCode, object_type: str = "companies", **options):
    with pytest.raises(TenantryError) as error:
        load(object_type, **options)
    assert error.value.code is code
    assert "GRANT" not in error.value.hint or code is ErrorCode.DATA_UNREADABLE
    return error.value


def test_tables_views_materialized_views_and_partitions_are_read(crm: Connection, load: Load):
    crm.execute(text("create table crm.companies (name text) partition by list (name)"))
    crm.execute(text("create table crm.part partition of crm.companies default"))
    crm.execute(text("insert into crm.companies values ('Acme')"))
    crm.execute(text("create view crm.seen as select * from crm.companies"))
    crm.execute(text("create materialized view crm.kept as select * from crm.companies"))
    for name in ("companies", "part", "seen", "kept"):
        assert list(load(name)["name"]) == ["Acme"]


def test_a_foreign_table_is_read(crm: Connection, load: Load):
    crm.execute(text("create extension file_fdw"))
    crm.execute(text("create server files foreign data wrapper file_fdw"))
    crm.execute(
        text(
            "create foreign table crm.companies (name text) server files options (program 'echo A')"
        )
    )
    assert list(load("companies")["name"]) == ["A"]


def test_a_materialized_view_that_holds_nothing_yet_is_told_as_that(crm: Connection, load: Load):
    crm.execute(text("create materialized view crm.companies as select 1 as x with no data"))
    error = refused(load, ErrorCode.DATA_UNREADABLE)
    assert "object not in prerequisite state (SQLSTATE 55000)" in error.message


def test_dates_that_python_does_not_have_are_read_as_postgresql_writes_them(
    crm: Connection, load: Load
):
    crm.execute(
        text(
            "create table crm.companies as select 'infinity'::date as a, '0044-03-15 BC'::date as"
            " b, '-infinity'::timestamptz as c, '24:00'::time as d, '2020-02-29'::date as e,"
            " '10000-01-01'::timestamp as f, 'NaN'::numeric as g"
        )
    )
    found = load("companies").iloc[0]
    assert [found[name] for name in "abcd"] == [
        "infinity",
        "0044-03-15 BC",
        "-infinity",
        "24:00:00",
    ]
    assert str(found["e"]) == "2020-02-29"
    assert found["f"] == "10000-01-01 00:00:00"


def test_a_view_that_divides_by_zero_is_told_as_that_and_not_tried_again(
    crm: Connection, load: Load
):
    crm.execute(
        text("create view crm.companies as select 1 / (n - 1) as x from generate_series(1, 3) n")
    )
    error = refused(load, ErrorCode.DATA_UNREADABLE)
    assert "division by zero (SQLSTATE 22012)" in error.message
    assert "GRANT" not in error.hint
    assert not error.retryable


def test_a_table_that_may_not_be_read_says_grant(
    crm: Connection, load: Load, cluster: Cluster, database_url: URL
):
    crm.execute(text("create table crm.companies (name text)"))
    crm.execute(text("create role reader_of_nothing login password 'secret'"))
    crm.execute(text("grant usage on schema crm to reader_of_nothing"))
    own = cluster.as_superuser(database_url).set(username="reader_of_nothing", password="secret")
    try:
        assert "GRANT SELECT" in refused(load, ErrorCode.DATA_UNREADABLE, own=own).hint
    finally:
        crm.execute(text("drop owned by reader_of_nothing"))
        crm.execute(text("drop role reader_of_nothing"))


def test_a_statement_that_takes_too_long_is_a_time_out_and_tried_again(crm: Connection, load: Load):
    crm.execute(text("create view crm.companies as select pg_sleep(60)::text as name"))
    assert refused(load, ErrorCode.CONNECTOR_TIMED_OUT, read_s=1).retryable


def test_a_connection_that_is_cut_is_told_as_that_and_tried_again(
    crm: Connection, load: Load, cluster: Cluster, database_url: URL
):
    crm.execute(text("create view crm.companies as select pg_sleep(60)::text as name"))

    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.1):
            crm.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and query like 'FETCH%'"
                )
            )

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        error = refused(load, ErrorCode.CONNECTOR_UNREACHABLE, read_s=30)
    finally:
        stop.set()
        cutting.join()
    assert error.retryable


def test_the_platforms_own_database_is_refused_though_this_machine_is_allowed(
    database: Database, tmp_path: Path
):
    runtime = Runtime(
        database=database, registry=default_registry(), data_root=tmp_path, address_rules=LOCAL
    )
    port = database.app.url.port
    for host in ("127.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]"):
        settings = {"kind": "sql", "url": f"postgresql://u:p@{host}:{port}/x"}
        with database.org(ACME) as session:
            set_connector(session, "crm", settings)
            connectors = make_connectors(runtime, session)
        with pytest.raises(TenantryError) as error:
            connectors.open("crm").load("companies")
        assert error.value.code is ErrorCode.CONNECTOR_INVALID
