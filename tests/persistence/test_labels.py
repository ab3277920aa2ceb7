"""An execution's labels are found by an index, whoever writes them and however."""

from collections.abc import Iterator, Sequence

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.pool import NullPool

from domain.execution_queries import ExecutionFilter
from domain.executions import Execution
from domain.ids import OrgId
from persistence.execution_batches import add_batch
from persistence.execution_intake import SingleWish, add_requested
from persistence.execution_lists import list_summaries
from persistence.execution_targets import ExecutionWish
from persistence.migrate import migrate
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN, GLOBEX, Cluster, open_roles
from tests.support.factories import queue, simple_workflow

SPRING = ("campaign", "spring")
ROWS = text("select execution_id, key, value from execution_labels order by 1, 2, 3")
ADD_OLD = text("""
insert into executions (id, org_id, workflow_id, workflow_version, trigger, input_data, labels)
values (:id, 'org_acme', 'wf_old', 1, 'api', '{}', :labels)
""")


@pytest.fixture
def superuser(cluster: Cluster, database_url: URL) -> Iterator[Connection]:
    url = cluster.as_superuser(database_url)
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as link:
        yield link


def find(database: Database, org_id: OrgId, *labels: tuple[str, str]) -> list[str]:
    with database.org(org_id) as session:
        return [found.id for found in list_summaries(session, ExecutionFilter(labels=labels))]


def relabel(database: Database, execution: Execution, labels: str) -> None:
    with database.org(execution.org_id) as session:
        session.execute(
            text("update executions set labels = :labels where id = :id"),
            {"labels": labels, "id": execution.id},
        )


def rows(superuser: Connection) -> Sequence[tuple[str, str, str]]:
    return [tuple(row) for row in superuser.execute(ROWS)]


def test_executions_that_came_alone_are_found_by_their_labels(database: Database):
    workflow = simple_workflow(database, ACME)
    wishes = [
        SingleWish(workflow=workflow.id, labels=labels, input_data={"text": "x"})
        for labels in ({"campaign": "spring", "owner": "ohio"}, {}, {"campaign": "spring"})
    ]
    with database.org(ACME, user_id=ADMIN) as session:
        first, _, third = (record.execution.id for record in add_requested(session, wishes))
    assert set(find(database, ACME, SPRING)) == {first, third}
    assert find(database, ACME, SPRING, ("owner", "ohio")) == [first]
    assert find(database, ACME, ("owner", "ohio"), SPRING) == [first]
    assert find(database, ACME, ("campaign", "autumn")) == []
    assert find(database, GLOBEX, SPRING) == []


def test_executions_of_a_batch_are_found_by_their_labels(database: Database):
    workflow = simple_workflow(database, ACME)
    wish = ExecutionWish(workflow=workflow.id, labels={"campaign": "spring"})
    with database.org(ACME, user_id=ADMIN) as session:
        ids = add_batch(session, wish, [{"text": str(n)} for n in range(30)], batch_id="b")
    assert set(find(database, ACME, SPRING)) == set(ids)


def test_what_has_no_labels_leaves_no_row(database: Database, superuser: Connection):
    queue(database, ACME, simple_workflow(database, ACME))
    assert rows(superuser) == []


def test_changed_labels_are_found_and_old_ones_are_not(database: Database):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    relabel(database, execution, '{"campaign": "spring", "owner": "ohio"}')
    assert find(database, ACME, SPRING) == [execution.id]
    relabel(database, execution, '{"campaign": "autumn", "owner": "ohio"}')
    assert find(database, ACME, SPRING) == []
    assert find(database, ACME, ("campaign", "autumn"), ("owner", "ohio")) == [execution.id]
    relabel(database, execution, "{}")
    assert find(database, ACME, ("owner", "ohio")) == []


def test_labels_go_with_their_execution(database: Database, superuser: Connection):
    gone, left = (queue(database, ACME, simple_workflow(database, ACME, name=n)) for n in "ab")
    for execution in (gone, left):
        relabel(database, execution, '{"campaign": "spring"}')
    superuser.execute(text("delete from executions where id = :id"), {"id": gone.id})
    assert rows(superuser) == [(left.id, *SPRING)]


def test_a_transaction_that_is_undone_leaves_no_label(database: Database, superuser: Connection):
    workflow = simple_workflow(database, ACME)
    wish = ExecutionWish(workflow=workflow.id, labels={"campaign": "spring"})
    with database.org(ACME, user_id=ADMIN) as session:
        add_batch(session, wish, [{"text": "x"}], batch_id="b")
        assert session.execute(ROWS).all()
        session.rollback()
    assert rows(superuser) == []


def test_executions_from_before_the_migration_are_found_by_their_labels(cluster: Cluster):
    owner = cluster.copy("template1")
    roles = {
        "app_url": derive_role_url(owner, APP_ROLE),
        "platform_url": derive_role_url(owner, PLATFORM_ROLE),
    }
    config = Config()
    config.set_main_option("script_location", "persistence:migrations")
    with create_engine(owner, poolclass=NullPool).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    with create_engine(cluster.as_superuser(owner), poolclass=NullPool).begin() as connection:
        # Their workflow is not there: only the labels matter here.
        connection.execute(text("set local session_replication_role = replica"))
        for id, labels in (("exec_1", '{"campaign": "spring"}'), ("exec_2", "{}")):
            connection.execute(ADD_OLD, {"id": id, "labels": labels})
    migrate(owner, **roles)
    with open_roles(owner) as database:
        assert find(database, ACME, SPRING) == ["exec_1"]
        assert find(database, GLOBEX, SPRING) == []
    cluster.drop(owner)
