"""One steward at a time: the leader holds an advisory lock as long as its connection lives."""

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

_KEY = 0x57E3A2D


class Leadership:
    """The right to be the one steward. Killed, its connection ends and the next one has it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Take the lead or make sure of it; say whether this process has it now."""
        if self._connection is not None and self._is_alive(self._connection):
            return True
        self.release()
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError:
            return False
        if connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": _KEY}):
            self._connection = connection
            return True
        connection.close()
        return False

    def release(self) -> None:
        """Give the lead away."""
        if self._connection is not None:
            # Not back to the pool: a session lock would go on there.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _is_alive(self, connection: Connection) -> bool:
        try:
            connection.execute(text("select 1"))
        except DBAPIError:
            return False
        return True
