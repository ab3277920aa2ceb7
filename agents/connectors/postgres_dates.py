"""Dates that PostgreSQL has and Python does not: `infinity`, before Christ, 24 o'clock."""

from psycopg import Connection, DataError
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

_TYPES = ("date", "timestamp", "timestamptz", "time", "timetz", "interval")


def load_odd_dates_as_text(connection: Connection, _record: object) -> None:
    """Have a connection give such dates as the text that PostgreSQL writes, others as before."""
    for name in _TYPES:
        usual = connection.adapters.get_loader(connection.adapters.types[name].oid, Format.TEXT)
        if usual is not None:
            connection.adapters.register_loader(name, _or_text(usual))


def _or_text(usual: type) -> type[Loader]:
    class DateOrText(Loader):
        def __init__(self, oid: int, context: object = None) -> None:
            super().__init__(oid, context)  # type: ignore[arg-type]
            self._usual = usual(oid, context)

        def load(self, data: Buffer) -> object:
            try:
                return self._usual.load(data)
            except DataError:
                return bytes(data).decode()

    return DateOrText
