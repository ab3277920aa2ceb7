"""The tables that the code knows are those that the migrations made."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import persistence
from persistence import queue_tables
from persistence.migrate import migrate
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from persistence.schema_version import check_migrated, head_revision, is_migrated
from persistence.tables import Table


def test_tables_and_columns_are_those_of_the_migrations(database_url):
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert queue_tables.Table is Table  # imported for its tables
        differences = compare_metadata(context, Table.metadata)
    # Indexes, keys and server-side defaults are the migrations' own affair.
    telling = {"add_table", "remove_table", "add_column", "remove_column"}
    found = [d for d in differences if isinstance(d, tuple) and d[0] in telling]
    assert [d for d in found if getattr(d[-1], "name", "") != "alembic_version"] == []
    changed = [d for d in differences if isinstance(d, list)]
    assert [d for d in changed if d[0][0] in {"modify_type", "modify_nullable"}] == []


def test_migrating_again_changes_nothing(database_url):
    roles = {
        "app_url": derive_role_url(database_url, APP_ROLE),
        "platform_url": derive_role_url(database_url, PLATFORM_ROLE),
    }
    assert migrate(database_url, **roles) == migrate(database_url, **roles) == head_revision()


def test_a_migrated_database_is_accepted(database, database_url):
    check_migrated(database)
    assert is_migrated(database_url)


def test_an_older_database_or_an_empty_one_is_not(cluster, database_url):
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.execute(text("update alembic_version set version_num = '0001'"))
    assert not is_migrated(database_url)
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.execute(text("drop table alembic_version"))
    assert not is_migrated(database_url)


def test_the_newest_file_is_the_head_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", str(Path(persistence.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == head_revision()


def test_times_come_back_in_utc(database):
    with database.for_platform() as session:
        assert session.scalar(text("show timezone")) == "UTC"
