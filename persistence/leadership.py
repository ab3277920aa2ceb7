"""One steward at a time: the leader holds an advisory lock as long as its connection lives."""

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from persistence.driver_errors import (
    DatabaseNotMigrated,
    DatabaseUnreachable,
    translate_driver_errors,
)

_KEY = 0x57E3A2D
_TAKE = text("""
update steward_status set epoch = epoch + 1, leader = :name, leading_since = now()
returning epoch
""")
_LOOK = text("select epoch from steward_status")


class Leadership:
    """The right to be the one steward. Killed, its connection ends and the next one has it."""

    def __init__(self, engine: Engine, *, name: str, silence_s: float = 15) -> None:
        """Prepare to lead.

        Args:
            name: of this process, for people.
            silence_s: a leader that does not call `hold` for so long, because it is frozen or
                cut off, loses the lead: the database ends its connection.
        """
        self._engine = engine
        self._name = name
        self._silence_s = silence_s
        self._connection: Connection | None = None
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Number of this process's lead: higher than that of every one before."""
        return self._epoch

    def hold(self) -> bool:
        """Take the lead or make sure of it; say whether this process has it now.

        Raises:
            DatabaseNotMigrated: the tables are older than this code.
        """
        if self._connection is not None and self._is_mine(self._connection):
            return True
        self.release()
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError:
            return False
        self._connection = connection
        try:
            with translate_driver_errors():
                if self._take(connection):
                    return True
        except DatabaseNotMigrated:
            self.release()
            raise
        except (DatabaseUnreachable, DBAPIError):
            # It went away in between: the next call tries again.
            self.release()
            return False
        self.release()
        return False

    def release(self) -> None:
        """Give the lead away."""
        if self._connection is not None:
            # Not back to the pool: a session lock would go on there.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _take(self, connection: Connection) -> bool:
        if not connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": _KEY}):
            return False
        connection.execute(
            text("select set_config('idle_session_timeout', :limit, false)"),
            {"limit": f"{self._silence_s:g}s"},
        )
        self._epoch = int(connection.scalar(_TAKE, {"name": self._name}) or 0)
        return True

    def _is_mine(self, connection: Connection) -> bool:
        try:
            return connection.scalar(_LOOK) == self._epoch
        except DBAPIError:
            return False
