"""Bring a database up to date: roles, tables, policies. The only code that is the owner."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.pool import NullPool

from persistence.driver_errors import DatabaseNotMigrated, translate_driver_errors
from persistence.roles import APP_ROLE, PLATFORM_ROLE
from persistence.sessions import Database

# Any fixed number: two `migrate` at once, or two databases of one cluster whose roles are shared,
# take turns.
_MIGRATION_LOCK = 0x7E4A47


def migrate(owner_url: URL, *, app_url: URL, platform_url: URL) -> str:
    """Create what is missing and change what is old; running it again changes nothing.

    Makes the two roles of the given URLs where they are missing, which needs CREATEROLE; where
    an administrator has made them already, that right is not needed.

    Returns:
        The schema's revision afterwards.
    """
    engine = create_engine(owner_url, poolclass=NullPool)
    with translate_driver_errors(), engine.connect() as connection:
        with connection.begin():
            connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            _ensure_role(connection, app_url, APP_ROLE)
            _ensure_role(connection, platform_url, PLATFORM_ROLE)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return head_revision()


def check_migrated(database: Database) -> None:
    """Make sure that the tables are this code's.

    Raises:
        DatabaseNotMigrated: they are older, or there are none.
    """
    with database.for_platform() as session:
        found = session.scalar(text("select max(version_num) from alembic_version"))
    if found is None or str(found) < head_revision():
        raise DatabaseNotMigrated


def head_revision() -> str:
    """Name the newest revision that this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the package has no migrations")
    return head


def _ensure_role(connection: Connection, url: URL, role: str) -> None:
    if url.username != role:
        raise ValueError(f"the URL is for `{url.username}`, not `{role}`")
    row = connection.execute(
        text("select rolsuper or rolbypassrls from pg_roles where rolname = :r"), {"r": role}
    ).first()
    if row is not None and row[0]:
        raise ValueError(f"role `{role}` is exempt from row-level security: tenants would mix")
    cursor = connection.connection.cursor()
    if row is None:
        cursor.execute(
            sql.SQL("create role {} login nobypassrls password {}").format(
                sql.Identifier(role), sql.Literal(url.password or "")
            )
        )
    cursor.execute(
        sql.SQL("grant connect on database {} to {}").format(
            sql.Identifier(url.database or ""), sql.Identifier(role)
        )
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
