"""The audit trail is append-only, and whoever gets round that is found out."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import errors
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from domain.audit import AuditEntry, Verification
from domain.clock import utc_now
from persistence.audit import add_audit, list_audit, verify_audit
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN, GLOBEX


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        action="test.done",
        resource_type="test",
        resource_id=f"test_{number}",
        success=number % 2 == 0,
        timestamp=utc_now(),
        user_id=ADMIN,
        details={"number": number, "large": 1e16, "small": 0.1, "text": "Zoë 🚀"},
        error_message=None if number % 2 == 0 else "it did not work",
    )


@pytest.fixture
def ten_entries(database: Database) -> Database:
    for number in range(10):
        with database.org(ACME, user_id=ADMIN) as session:
            add_audit(session, [entry(number)])
    return database


def verify(database: Database) -> Verification:
    with database.org(ACME, snapshot=True) as session:
        return verify_audit(session)


@pytest.fixture
def tamper(database_url, cluster):
    """Run SQL as the superuser with triggers off: the worst that an administrator can do."""

    def run(statement: str) -> None:
        engine = create_engine(cluster.as_superuser(database_url), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("set local session_replication_role = replica"))
            assert connection.execute(text(statement)).rowcount == 1

    return run


def test_an_untouched_chain_verifies(ten_entries):
    found = verify(ten_entries)
    assert found.ok
    assert found.checked == 10
    assert found.head.seq == 10


def test_an_empty_chain_verifies(database):
    assert verify(database).ok


@pytest.mark.parametrize(
    "change",
    [
        "success = not success",
        "user_id = 'user_other'",
        "action = 'test.undone'",
        "resource_id = 'test_99'",
        "details = '{\"number\": 99}'",
        "error_message = 'another'",
        "timestamp = timestamp + interval '1 microsecond'",
        "ip_address = '10.0.0.1'",
        "user_agent = 'curl'",
        "execution_id = 'exec_1'",
        "format = 1",
        "format = 3",
        "format = 1, execution_id = 'exec_1'",
        "hash = sha256(hash)",
        "prev_hash = sha256(prev_hash)",
    ],
)
def test_a_changed_row_is_named(ten_entries, tamper, change):
    tamper(f"update audit_logs set {change} where org_id = 'org_acme' and seq = 4")
    found = verify(ten_entries)
    assert found.first_bad_seq == 4
    assert found.first_bad_id is not None
    assert found.checked == 3


@pytest.mark.parametrize("seq", [1, 5, 10])
def test_a_removed_row_is_named(ten_entries, tamper, seq):
    tamper(f"delete from audit_logs where org_id = 'org_acme' and seq = {seq}")
    assert verify(ten_entries).first_bad_seq == seq


def test_a_row_inserted_at_the_end_is_named(ten_entries, tamper):
    tamper(
        "insert into audit_logs select (jsonb_populate_record(a, "
        "jsonb_build_object('id', 'audit_forged', 'seq', 11, 'prev_hash', a.hash))).* "
        "from audit_logs a where org_id = 'org_acme' and seq = 10"
    )
    assert verify(ten_entries).first_bad_seq == 11


def test_a_row_put_in_the_place_of_another_is_named(ten_entries, tamper):
    tamper("delete from audit_logs where org_id = 'org_acme' and seq = 6")
    tamper(
        "insert into audit_logs select (jsonb_populate_record(a, "
        "jsonb_build_object('id', 'audit_forged', 'seq', 6))).* "
        "from audit_logs a where org_id = 'org_acme' and seq = 7"
    )
    assert verify(ten_entries).first_bad_seq == 6


def test_a_chain_cut_off_with_its_head_set_back_differs_from_a_head_noted_before(
    ten_entries, tamper
):
    noted = verify(ten_entries).head
    tamper("delete from audit_logs where org_id = 'org_acme' and seq = 10")
    tamper(
        "update audit_heads set seq = 9, hash = (select hash from audit_logs a "
        "where a.org_id = 'org_acme' and a.seq = 9) where org_id = 'org_acme'"
    )
    assert verify(ten_entries).head != noted


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_logs set success = true",
        "delete from audit_logs",
        "truncate audit_logs",
    ],
)
@pytest.mark.parametrize("role", ["app", "owner", "superuser"])
def test_update_and_delete_are_refused_to_everyone(
    ten_entries, database_url, cluster, statement, role
):
    engines = {
        "app": ten_entries.app,
        "owner": create_engine(database_url, poolclass=NullPool),
        "superuser": create_engine(cluster.as_superuser(database_url), poolclass=NullPool),
    }
    with engines[role].connect() as connection:
        connection.execute(text("select set_config('app.org_id', 'org_acme', true)"))
        if role == "owner":
            # The owner is shown no row, and a trigger per row has nothing to refuse.
            connection.execute(text("alter table audit_logs no force row level security"))
        with pytest.raises(DBAPIError) as refused:
            connection.execute(text(statement))
        assert isinstance(refused.value.orig, errors.InsufficientPrivilege)


def test_each_organization_has_a_chain_of_its_own(ten_entries):
    with ten_entries.org(GLOBEX, user_id=ADMIN) as session:
        add_audit(session, [entry(1)])
    with ten_entries.org(GLOBEX, snapshot=True) as session:
        assert verify_audit(session).head.seq == 1
        assert [item.entry.resource_id for item in list_audit(session)] == ["test_1"]


def test_racing_writers_of_one_organization_make_one_chain(database):
    def write(number: int) -> None:
        with database.org(ACME, user_id=ADMIN) as session:
            add_audit(session, [entry(number), entry(number + 1)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    found = verify(database)
    assert found.ok
    assert found.checked == 80


def test_a_transaction_that_fails_leaves_no_entry(ten_entries):
    def write_and_fail() -> None:
        with ten_entries.org(ACME, user_id=ADMIN) as session:
            add_audit(session, [entry(11)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert verify(ten_entries).head.seq == 10


def test_the_newest_entries_are_listed_first(ten_entries):
    with ten_entries.org(ACME) as session:
        assert [item.seq for item in list_audit(session, limit=3)] == [10, 9, 8]
