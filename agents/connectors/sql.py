"""Records in PostgreSQL and SQLite databases, read only."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, Engine, create_engine, inspect, select, table, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import quoted_name

from agents.connectors.confinement import resolve_below
from agents.connectors.definitions import SqlConnector
from agents.connectors.object_types import check_object_type
from agents.errors import (
    ConnectorInvalid,
    ConnectorUnreachable,
    DataNotFound,
    DataTooLarge,
    DataUnreadable,
)
from domain.text import Suggester, quote

CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 120
# libpq reads files and opens sockets for other options; these only say how to connect.
_ALLOWED_OPTIONS = frozenset({"sslmode", "application_name"})


class SqlRecords:
    """Reads an object type from the table or view of that name."""

    def __init__(self, definition: SqlConnector, *, data_root: Path) -> None:
        self._definition, self._data_root = definition, data_root

    def load(self, object_type: str) -> pd.DataFrame:
        """Read a table whole, up to the connector's `max_rows`."""
        check_object_type(object_type)
        engine = _make_engine(self._definition, data_root=self._data_root)
        try:
            with _connected(engine) as connection:
                self._check_exists(connection, object_type)
                return self._read(connection, object_type)
        except SQLAlchemyError as error:
            raise DataUnreadable(
                f"The database refuses to read the table {quote(object_type)}.",
                hint="Give the connector's database user the right to read it (`GRANT SELECT`).",
            ) from error
        finally:
            engine.dispose()

    def _check_exists(self, connection: Connection, object_type: str) -> None:
        inspector, schema = inspect(connection), self._definition.schema_name
        if schema is not None and schema not in inspector.get_schema_names():
            raise DataNotFound(
                f"The connector's database has no schema {quote(schema)}.",
                hint="Correct `schema_name` on the connector, or leave it out.",
            )
        names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
        if object_type in names:
            return
        near = Suggester(names).nearest(object_type)
        hint = f"Did you mean {quote(near)}? " if near else ""
        shown = ", ".join(quote(name) for name in sorted(names)[:10])
        hint += f"Tables there: {shown}." if shown else "The database has no tables yet."
        raise DataNotFound(
            f"The connector's database has no table called {quote(object_type)}.", hint=hint
        )

    def _read(self, connection: Connection, object_type: str) -> pd.DataFrame:
        max_rows = self._definition.max_rows
        schema = self._definition.schema_name
        source = table(
            quoted_name(object_type, quote=True),
            schema=None if schema is None else quoted_name(schema, quote=True),
        )
        result = connection.execute(select(text("*")).select_from(source).limit(max_rows + 1))
        rows = result.fetchall()
        if len(rows) > max_rows:
            raise DataTooLarge(
                f"The table {quote(object_type)} has more than {max_rows:,} rows.",
                hint="Make a view with the rows that matter, or raise `max_rows` on the connector.",
            )
        return pd.DataFrame([tuple(row) for row in rows], columns=list(result.keys()), dtype=object)


def _make_engine(definition: SqlConnector, *, data_root: Path) -> Engine:
    try:
        url = make_url(definition.url.get_secret_value())
    except (ArgumentError, ValueError):
        # Without its cause: the driver's text quotes the address, password included.
        raise _invalid_url() from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgres_engine(url)
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_engine(url, data_root=data_root)
    raise _invalid_url()


def _postgres_engine(url: URL) -> Engine:
    if not url.host or url.host.startswith(("/", "@")) or set(url.query) - _ALLOWED_OPTIONS:
        raise _invalid_url()
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c default_transaction_read_only=on "
            f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000}",
        },
    )


def _sqlite_engine(url: URL, *, data_root: Path) -> Engine:
    if not url.database or url.database == ":memory:" or url.query:
        raise _invalid_url()
    path = resolve_below(data_root, url.database)
    if not path.is_file():
        raise DataNotFound(
            f"There is no database file {quote(url.database)} in your organization's data folder.",
            hint="Upload it, or correct the connector's `url`.",
        )
    # Read only, so no file is ever made; `as_uri` escapes what SQLite would read as options.
    return create_engine(f"sqlite+pysqlite:///{path.as_uri()}?mode=ro&uri=true", poolclass=NullPool)


@contextmanager
def _connected(engine: Engine) -> Generator[Connection]:
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise ConnectorUnreachable(
            "The connector's database does not answer, or refuses the sign-in.",
            hint="Check that the database is up and reachable from here, and the user and "
            "password in the connector's `url`.",
        ) from error
    with connection:
        yield connection


def _invalid_url() -> ConnectorInvalid:
    return ConnectorInvalid(
        "The connector's `url` is not an address that Tenantry can read records from.",
        hint="Use `postgresql+psycopg://user:password@host:5432/name`, or `sqlite:///file.db` for "
        "a file in your organization's data folder. Of options only `sslmode` and "
        "`application_name` are allowed.",
    )
