"""Records in PostgreSQL and SQLite databases, read only."""

from collections.abc import Generator
from contextlib import contextmanager
from os import devnull
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, table, text
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import quoted_name

from agents.connectors.addresses import pin_address
from agents.connectors.confinement import resolve_below
from agents.connectors.definitions import SqlConnector
from agents.connectors.limits import DEFAULT_LIMITS, Meter, ReadLimits, text_size_bytes
from agents.connectors.object_types import check_object_type
from agents.connectors.postgres_dates import load_odd_dates_as_text
from agents.connectors.sql_errors import connect_error, read_error
from agents.errors import ConnectorInvalid, DataNotFound, DataTooLarge
from domain.addresses import AddressRules
from domain.text import Suggester, quote

# libpq reads files and opens sockets for other options; these only say how to connect.
_ALLOWED_OPTIONS = frozenset({"sslmode", "application_name"})
_ROWS_AT_A_TIME = 1_000


class SqlRecords:
    """Reads an object type from the table or view of that name."""

    def __init__(
        self,
        definition: SqlConnector,
        *,
        data_root: Path,
        rules: AddressRules,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        self._definition, self._data_root = definition, data_root
        self._rules, self._limits = rules, limits

    def load(self, object_type: str) -> pd.DataFrame:
        """Read a table whole, up to the connector's `max_rows`."""
        check_object_type(object_type)
        engine = self._make_engine()
        try:
            with _connected(engine) as connection:
                self._check_exists(connection, object_type)
                return self._read(connection, object_type)
        except SQLAlchemyError as error:
            raise read_error(error, object_type, limits=self._limits) from error
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
        if isinstance(inspector, PGInspector):
            names += inspector.get_materialized_view_names(schema)
            names += inspector.get_foreign_table_names(schema)
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
        meter = Meter(self._limits, shown=f"The table {quote(object_type)}")
        streaming = connection.execution_options(
            stream_results=True, max_row_buffer=_ROWS_AT_A_TIME
        )
        rows: list[tuple[object, ...]] = []
        with streaming.execute(select(text("*")).select_from(source).limit(max_rows + 1)) as result:
            columns = list(result.keys())
            meter.check_columns(len(columns))
            for some in result.partitions(_ROWS_AT_A_TIME):
                found = [tuple(row) for row in some]
                size_bytes = sum(map(text_size_bytes, found))
                meter.add(rows=len(found), columns=len(columns), value_bytes=size_bytes)
                rows += found
        if len(rows) > max_rows:
            raise DataTooLarge(
                f"The table {quote(object_type)} has more than {max_rows:,} rows.",
                hint="Make a view with the rows that matter, or raise `max_rows` on the connector.",
            )
        return pd.DataFrame(rows, columns=columns, dtype=object)

    def _make_engine(self) -> Engine:
        try:
            url = make_url(self._definition.url.get_secret_value())
        except (ArgumentError, ValueError):
            # Without its cause: the driver's text quotes the address, password included.
            raise _invalid_url() from None
        if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
            return self._postgres_engine(url)
        if url.drivername in ("sqlite", "sqlite+pysqlite"):
            return _sqlite_engine(url, data_root=self._data_root)
        raise _invalid_url()

    def _postgres_engine(self, url: URL) -> Engine:
        host = url.host or ""
        # A comma would name several servers, of which only the first were checked.
        is_bad = not host or host.startswith(("/", "@")) or "," in host
        if is_bad or not url.username or set(url.query) - _ALLOWED_OPTIONS:
            raise _invalid_url()
        pinned = pin_address(host, url.port, rules=self._rules)
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={
                "hostaddr": pinned.address,
                "port": pinned.port,
                # The password of the operator's own file is nobody's but the operator's.
                "passfile": devnull,
                "gssencmode": "disable",
                "connect_timeout": self._limits.connect_s,
                "options": f"-c default_transaction_read_only=on "
                f"-c statement_timeout={max(int(self._limits.read_s * 1000), 1)}",
            },
        )
        event.listen(engine, "connect", load_odd_dates_as_text)
        return engine


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
    except SQLAlchemyError as error:
        raise connect_error(error) from error
    with connection:
        yield connection


def _invalid_url() -> ConnectorInvalid:
    return ConnectorInvalid(
        "The connector's `url` is not an address that Tenantry can read records from.",
        hint="Use `postgresql+psycopg://user:password@host:5432/name`, or `sqlite:///file.db` for "
        "a file in your organization's data folder. Of options only `sslmode` and "
        "`application_name` are allowed.",
    )
