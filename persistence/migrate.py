"""Bring a database up to date: roles, tables, policies. The only code that is the owner."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from persistence.backup_role import (
    grant_reading,
    has_backup_role,
    list_tables_to_open,
    open_table,
)
from persistence.driver_errors import translate_driver_errors
from persistence.roles import APP_ROLE, BACKUP_ROLE, PLATFORM_ROLE
from persistence.schema_version import head_revision

# Any fixed number: two `migrate` of one database take turns.
_MIGRATION_LOCK = 0x7E4A47
_LOCK_POLL_S = 0.2
# A migration that does not get a table's lock in time, or is the victim of a deadlock, is rolled
# back and tried again.
_ATTEMPTS = 10
_RETRY_PAUSE_S = 1.0
_RETRIED = ("55P03", "40P01")
# SQLSTATE of a role that another database's `migrate` has made at the same moment.
_ROLE_EXISTS = ("42710", "23505")
_NOT_ALLOWED = "42501"
_EXEMPT = text("select rolsuper or rolbypassrls from pg_roles where rolname = :r")
_LOGGER = logging.getLogger("tenantry.migrate")

Say = Callable[[str], None]


def migrate(owner_url: URL, *, app_url: URL, platform_url: URL, say: Say | None = None) -> str:
    """Create what is missing and change what is old; running it again changes nothing.

    Makes the two roles of the given URLs where they are missing, which needs CREATEROLE; where
    an administrator has made them already, that right is not needed.

    Each migration is a transaction of its own. Killed between two or within one, the next call
    goes on with the first that is not done. A lock on the session keeps other calls out.

    Args:
        say: gets one line before each migration, and one if backups are not possible.

    Returns:
        The schema's revision afterwards; a newer one than this code's stays.
    """
    engine = create_engine(owner_url, poolclass=NullPool)
    with (
        translate_driver_errors(),
        engine.connect() as connection,
        _migration_lock(connection),
    ):
        _ensure_roles(connection, app_url=app_url, platform_url=platform_url)
        config = _config()
        config.attributes["connection"] = connection
        for revision, subject in _pending(connection):
            line = f"{revision}: {subject}"
            _LOGGER.info("migrating revision=%s", revision)
            if say is not None:
                say(line)
            _retry(revision, partial(command.upgrade, config, revision))
        _open_for_backup(connection, say)
        return MigrationContext.configure(connection).get_current_revision() or head_revision()


@contextmanager
def _migration_lock(connection: Connection) -> Generator[None]:
    # Polled: who waits inside a statement keeps a snapshot, for which a concurrent index build of
    # the holder would wait in turn.
    taken = False
    while not taken:
        taken = bool(
            connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        )
        connection.commit()
        if not taken:
            time.sleep(_LOCK_POLL_S)
    # Closing the connection, which has no pool, releases the lock: after an error as well.
    yield


def _pending(connection: Connection) -> list[tuple[str, str]]:
    """List the migrations that are not done, oldest first: revision, first line."""
    current = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    script = ScriptDirectory.from_config(_config())
    if current is not None and current > head_revision():
        # The database of a newer version: its expand steps suit this code as well.
        return []
    steps = script.iterate_revisions("head", current or "base")
    return [(step.revision, step.doc) for step in steps][::-1]


def _retry(name: str, act: Callable[[], object]) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            act()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _RETRIED or attempt == _ATTEMPTS:
                raise
            _LOGGER.info("migration waits for a lock step=%s attempt=%d", name, attempt)
            time.sleep(_RETRY_PAUSE_S)
        else:
            return


def migrate_roles(owner_url: URL, *, app_url: URL, platform_url: URL) -> None:
    """Make the roles only: a dump names them, so they are there before it is restored."""
    engine = create_engine(owner_url, poolclass=NullPool)
    with translate_driver_errors(), engine.connect() as connection:
        _ensure_roles(connection, app_url=app_url, platform_url=platform_url)


def _open_for_backup(connection: Connection, say: Say | None) -> None:
    if not has_backup_role(connection):
        connection.rollback()
        line = f"`{BACKUP_ROLE}` is missing, and this role may not make it: see docs/backup.md"
        _LOGGER.warning("no backup role role=%s", BACKUP_ROLE)
        if say is not None:
            say(line)
        return
    tables = list_tables_to_open(connection)
    connection.rollback()

    def act(step: Callable[[], None]) -> None:
        connection.rollback()
        with connection.begin():
            step()

    for table in tables:
        _retry(table, partial(act, partial(open_table, connection, table)))
    _retry(BACKUP_ROLE, partial(act, partial(grant_reading, connection)))


def _ensure_roles(connection: Connection, *, app_url: URL, platform_url: URL) -> None:
    for url, role in ((app_url, APP_ROLE), (platform_url, PLATFORM_ROLE)):
        if url.username != role:
            raise ValueError(f"the URL is for `{url.username}`, not `{role}`")
        row = connection.execute(_EXEMPT, {"r": role}).first()
        if row is not None and row[0]:
            raise ValueError(f"role `{role}` is exempt from row-level security: tenants would mix")
        if row is None:
            create = sql.SQL("create role {} login nobypassrls password {}").format(
                sql.Identifier(role), sql.Literal(url.password or "")
            )
            _create_role(connection, create, passed=_ROLE_EXISTS)
        _grant_connect(connection, url.database or "", role)
    if not has_backup_role(connection):
        create = sql.SQL("create role {} login").format(sql.Identifier(BACKUP_ROLE))
        # Without the right to make it, `migrate` goes on and says so at the end.
        _create_role(connection, create, passed=(*_ROLE_EXISTS, _NOT_ALLOWED))
    if has_backup_role(connection):
        _grant_connect(connection, app_url.database or "", BACKUP_ROLE)
    connection.commit()


def _create_role(connection: Connection, create: sql.Composed, *, passed: tuple[str, ...]) -> None:
    try:
        with connection.begin_nested():
            _execute(connection, create)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in passed:
            raise


def _grant_connect(connection: Connection, database: str, role: str) -> None:
    grant = sql.SQL("grant connect on database {} to {}")
    _execute(connection, grant.format(sql.Identifier(database), sql.Identifier(role)))


def _execute(connection: Connection, statement: sql.Composed) -> None:
    connection.exec_driver_sql(statement.as_string().replace("%", "%%"))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
