"""Migrating a database in use: locks, killed runs, and the steps that migrations are made of."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from persistence.driver_errors import DatabaseUnreachable
from persistence.migrate import _config, head_revision, migrate
from persistence.migrations import online
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from tests.support.databases import Cluster

# The newest of the migrations that were landed before the rules of CONTRIBUTING.md.
BEFORE = "0010"
MAX_LOCK_S = 1.0
SAMPLE_S = 0.02
LOCKS = text("""
select c.relname || ' ' || l.mode from pg_locks l join pg_class c on c.oid = l.relation
where l.database = (select oid from pg_database where datname = current_database())
    and l.granted and l.pid <> pg_backend_pid() and c.relnamespace = 'public'::regnamespace
    and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
""")
FILL = text("""
insert into executions (id, org_id, workflow_id, workflow_version, trigger, input_data, labels,
    status, created_at, started_at, completed_at, duration_seconds)
select 'exec_' || lpad(n::text, 12, '0'), 'org_' || n % 100, 'wf_' || n % 300, 1, 'api', '{}', '{}',
    case when n % 50 = 0 then 'PENDING' else 'COMPLETED' end, t, case when n % 50 > 0 then t end,
    case when n % 50 > 0 then t end, case when n % 50 > 0 then 1 end
from (
    select n, timestamptz '2026-01-01' + n * interval '1 s' as t from generate_series(1, :count) n
) x
""")


def roles_of(owner: URL) -> dict[str, URL]:
    return {
        "app_url": derive_role_url(owner, APP_ROLE),
        "platform_url": derive_role_url(owner, PLATFORM_ROLE),
    }


@contextmanager
def connect(url: URL) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def old_url(cluster: Cluster, template: str) -> Iterator[URL]:
    """A database at the newest revision before the rules, as its owner."""
    assert template  # Making it has made the roles, to which the first migration grants rights.
    owner = cluster.copy("template1")
    config = _config()
    with create_engine(owner, poolclass=NullPool).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
    yield owner
    cluster.drop(owner)


@contextmanager
def watch_locks(url: URL) -> Iterator[dict[str, float]]:
    """Note for how long, in seconds, a lock that blocks writers is seen without a break."""
    longest: dict[str, float] = {}
    since: dict[str, float] = {}
    done = threading.Event()

    def watch() -> None:
        with connect(url) as connection:
            while not done.is_set():
                now = time.monotonic()
                held = set(connection.scalars(LOCKS))
                for name in held:
                    longest[name] = max(longest.get(name, 0), now - since.setdefault(name, now))
                for name in since.keys() - held:
                    del since[name]
                done.wait(SAMPLE_S)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield longest
    finally:
        done.set()
        thread.join()


def run_step(url: URL, step: Callable[[], object]) -> object:
    """Run a step as a migration does: with `alembic.op` bound to a connection of the owner."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with context.begin_transaction(_per_migration=True), Operations.context(context):
            return step()


def check_locks(cluster: Cluster, owner: URL, *, count: int) -> None:
    with connect(cluster.as_superuser(owner)) as superuser:
        # Their organizations and workflows are not there: only the rows matter here.
        superuser.execute(text("set session_replication_role = replica"))
        superuser.execute(FILL, {"count": count})
        superuser.exec_driver_sql("analyze")
        with watch_locks(cluster.as_superuser(owner)) as longest:
            migrate(owner, **roles_of(owner))
        assert superuser.scalar(text("select count(*) from executions")) == count
    assert {name: held for name, held in longest.items() if held > MAX_LOCK_S} == {}


def test_migrating_holds_no_lock_that_blocks_writers_for_long(cluster: Cluster, old_url: URL):
    check_locks(cluster, old_url, count=5_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_migrating_a_million_executions_blocks_writers_for_no_second(
    cluster: Cluster, old_url: URL
):
    check_locks(cluster, old_url, count=1_000_000)


def test_the_watch_sees_a_lock_that_is_held_too_long(cluster: Cluster, database_url: URL):
    with (
        watch_locks(cluster.as_superuser(database_url)) as longest,
        create_engine(database_url, poolclass=NullPool).begin() as connection,
    ):
        connection.exec_driver_sql("lock table executions in share mode")
        time.sleep(MAX_LOCK_S + 10 * SAMPLE_S)
    assert longest["executions ShareLock"] > MAX_LOCK_S


def test_each_migration_is_named_and_is_a_transaction_of_its_own(cluster: Cluster, old_url: URL):
    steps = list(ScriptDirectory.from_config(_config()).iterate_revisions("head", BEFORE))[::-1]
    said: list[str] = []
    seen: list[str | None] = []

    def note(line: str) -> None:
        said.append(line)
        with connect(cluster.as_superuser(old_url)) as superuser:
            seen.append(superuser.scalar(text("select version_num from alembic_version")))

    migrate(old_url, **roles_of(old_url), say=note)
    assert said == [f"{step.revision}: {step.doc}" for step in steps]
    assert seen == [BEFORE, *(step.revision for step in steps[:-1])]


def test_a_migrate_that_is_killed_in_the_middle_goes_on_when_it_is_run_again(
    cluster: Cluster, old_url: URL
):
    steps: list[str] = []

    def kill_at_the_second(line: str) -> None:
        steps.append(line)
        if len(steps) == 2:
            with connect(cluster.as_superuser(old_url)) as superuser:
                superuser.execute(
                    text(
                        "select pg_terminate_backend(pid) from pg_stat_activity where pid in"
                        " (select pid from pg_locks where locktype = 'advisory') and datname = :d"
                    ),
                    {"d": old_url.database},
                )

    with pytest.raises(DatabaseUnreachable):
        migrate(old_url, **roles_of(old_url), say=kill_at_the_second)
    with connect(cluster.as_superuser(old_url)) as superuser:
        left = superuser.scalar(text("select version_num from alembic_version"))
    assert BEFORE < str(left) < head_revision()
    again: list[str] = []
    assert migrate(old_url, **roles_of(old_url), say=again.append) == head_revision()
    assert again[0] == steps[1]


def test_two_that_migrate_at_once_take_turns(old_url: URL):
    said: list[str] = []
    threads = [
        threading.Thread(
            target=migrate, args=(old_url,), kwargs={**roles_of(old_url), "say": said.append}
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == len(set(said)) == int(head_revision()) - int(BEFORE)


def test_a_migration_waits_for_a_transaction_that_is_open_for_longer_than_its_lock_timeout(
    cluster: Cluster, old_url: URL
):
    with create_engine(cluster.as_superuser(old_url), poolclass=NullPool).connect() as writer:
        writer.exec_driver_sql("lock table schedules in row exclusive mode")
        release = threading.Timer(6, writer.rollback)
        release.start()
        assert migrate(old_url, **roles_of(old_url)) == head_revision()
        release.join()


def test_an_index_that_a_killed_build_left_invalid_is_built_anew(
    cluster: Cluster, database_url: URL
):
    superuser_url = cluster.as_superuser(database_url)
    with connect(superuser_url) as superuser:
        superuser.exec_driver_sql("create table t (org_id text, id int)")
        superuser.exec_driver_sql(f"alter table t owner to {database_url.username}")
        superuser.exec_driver_sql("insert into t values ('a', 1), ('a', 1)")
        # A build that fails leaves what one that is killed leaves.
        with pytest.raises(DBAPIError):
            superuser.exec_driver_sql("create unique index concurrently t_ids on t (id)")
        valid = text("select indisvalid from pg_index where indexrelid = 't_ids'::regclass")
        assert superuser.scalar(valid) is False
        superuser.exec_driver_sql("delete from t")
        for _ in range(2):
            run_step(database_url, lambda: online.create_index("t_ids", on="t (id)", unique=True))
            assert superuser.scalar(valid) is True
        run_step(database_url, lambda: online.drop_index("t_ids"))
        assert superuser.scalar(text("select to_regclass('t_ids')")) is None


def make_filled(cluster: Cluster, url: URL, *, count: int) -> None:
    with connect(cluster.as_superuser(url)) as superuser:
        for statement in (
            "create table t (org_id text, id int, a int, b int, primary key (org_id, id))",
            f"alter table t owner to {url.username}",
            "alter table t enable row level security",
            "alter table t force row level security",
            f"insert into t select 'org_' || n % 3, n, n from generate_series(1, {count}) n",
        ):
            superuser.execute(text(statement))


def fill(batch_size: int) -> int:
    return online.fill_in_batches(
        "t", key=("org_id", "id"), assign="b = a", todo="b is null", batch_size=batch_size
    )


@pytest.mark.parametrize("batch_size", [1, 7, 100, 1_000])
def test_a_back_fill_changes_every_row_once(cluster: Cluster, database_url: URL, batch_size: int):
    make_filled(cluster, database_url, count=100)
    assert run_step(database_url, lambda: fill(batch_size)) == 100
    with connect(cluster.as_superuser(database_url)) as superuser:
        assert superuser.scalar(text("select count(*) from t where b = a")) == 100
        assert superuser.scalar(text("select count(*) from pg_policies where tablename = 't'")) == 0
    run_step(database_url, lambda: online.set_not_null("t", "b"))
    with connect(cluster.as_superuser(database_url)) as superuser, pytest.raises(DBAPIError):
        superuser.exec_driver_sql("insert into t values ('x', 0, 1, null)")


def test_a_back_fill_that_breaks_off_keeps_its_batches_and_goes_on(
    cluster: Cluster, database_url: URL
):
    make_filled(cluster, database_url, count=100)
    with connect(cluster.as_superuser(database_url)) as superuser:
        superuser.exec_driver_sql("alter table t add constraint c check (b <> 80)")
        with pytest.raises(DBAPIError):
            run_step(database_url, lambda: fill(10))
        done = superuser.scalar(text("select count(*) from t where b = a")) or 0
        assert 0 < done < 100
        superuser.exec_driver_sql("alter table t drop constraint c")
        assert run_step(database_url, lambda: fill(10)) == 100 - done
