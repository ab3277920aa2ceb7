"""The tables that the code knows are those that the migrations made."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from persistence import queue_tables
from persistence.migrate import check_migrated, head_revision, migrate
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
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


def test_a_migrated_database_is_accepted(database):
    check_migrated(database)


def test_times_come_back_in_utc(database):
    with database.for_platform() as session:
        assert session.scalar(text("show timezone")) == "UTC"
