"""Which revision the tables are of, told without the tool that changes them.

Loading that one costs a command more than all that it does with the database.
"""

from pathlib import Path

from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from persistence.driver_errors import DatabaseNotMigrated, translate_driver_errors
from persistence.sessions import Database

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_REVISION_CHARS = 4
_FOUND = text("select max(version_num) from alembic_version")
_HAS_TABLE = text("select to_regclass('public.alembic_version') is not null")


def head_revision() -> str:
    """Name the newest revision that this code knows: the files are named by them."""
    names = [path.name[1 : _REVISION_CHARS + 1] for path in _VERSIONS.glob("v[0-9]*_*.py")]
    if not names:
        raise RuntimeError("the package has no migrations")
    return max(names)


def check_migrated(database: Database) -> None:
    """Make sure that the tables are this code's.

    Raises:
        DatabaseNotMigrated: they are older, or there are none.
    """
    with database.for_platform() as session:
        found = session.scalar(_FOUND)
    if found is None or str(found) < head_revision():
        raise DatabaseNotMigrated


def is_migrated(owner_url: URL) -> bool:
    """Say whether the tables are this code's or newer; as the owner, before there are roles.

    Raises:
        DatabaseUnreachable: the database is away.
    """
    engine = create_engine(owner_url, poolclass=NullPool)
    with translate_driver_errors(), engine.connect() as connection:
        found = connection.scalar(_FOUND) if connection.scalar(_HAS_TABLE) else None
    return found is not None and str(found) >= head_revision()
