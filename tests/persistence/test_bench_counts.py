"""The benchmark counts what was written: a row that is missing is found."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from deployments.bench.coalesced import check_rows, table_sizes
from deployments.bench.failures import BenchFailed
from deployments.bench.mirror_contender import measure_mirror
from deployments.bench.tenants import add_tenants
from persistence.sessions import Database
from tests.support.databases import Cluster

pytestmark = pytest.mark.postgres
SIZE = 20


@pytest.fixture
def written(
    database: Database, database_url: URL, cluster: Cluster
) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A batch that was carried to its end, and a way to damage it."""
    (tenant,) = add_tenants(database, 1)
    measure_mirror(database, tenant, size=SIZE, seconds=0)
    url = cluster.as_superuser(database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        # No trigger stops what follows.
        connection.execute("set session_replication_role = replica")
        row = connection.execute("select distinct batch_id from executions").fetchone()
        assert row is not None
        yield connection, row[0]


def check(connection: psycopg.Connection[Any], batch_id: str, **other: Any) -> tuple[int, int]:
    expected = {"queued": SIZE, "succeeded": SIZE, "failed": 0, "all_done": True}
    return check_rows(connection, batch_id, **{**expected, **other})


def test_a_whole_batch_is_counted(written: tuple[psycopg.Connection[Any], str]):
    assert check(*written) == (SIZE, 1)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("delete from agent_runs where id = (select min(id) from agent_runs)", "agent runs"),
        ("delete from audit_logs where action = 'workflow.executed'", "audit rows of ends"),
        ("delete from audit_logs where action = 'execution.started'", "audit rows of starts"),
        ("delete from events where 'COMPLETED' = any(statuses)", "events of ends"),
        (
            "update executions set output = '{}' where id = (select max(id) from executions)",
            "wrong output",
        ),
        (
            "update executions set output = (select output from executions order by id limit 1),"
            " input_data = (select input_data from executions order by id limit 1)",
            "different outputs",
        ),
        (
            "delete from executions where id = (select max(id) from executions)",
            "19 executions, and there must be 20",
        ),
    ],
)
def test_what_is_missing_is_named(
    written: tuple[psycopg.Connection[Any], str], damage: str, what: str
):
    connection, batch_id = written
    connection.execute(damage.encode())
    with pytest.raises(BenchFailed, match=what):
        check(connection, batch_id)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"succeeded": SIZE - 1}, "successes in the statistics"),
        ({"failed": 1}, "failures in the statistics"),
    ],
)
def test_statistics_that_are_off_are_named(
    written: tuple[psycopg.Connection[Any], str], wrong: dict[str, int], what: str
):
    with pytest.raises(BenchFailed, match=what):
        check(*written, **wrong)


def test_tables_are_measured_with_their_indexes(written: tuple[psycopg.Connection[Any], str]):
    rows, table_bytes, index_bytes = table_sizes(written[0])["agent_runs"]
    assert rows == SIZE * 3
    assert table_bytes > 0
    assert index_bytes > 0
