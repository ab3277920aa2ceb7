"""The one place that turns the driver's errors into ours."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from domain.errors import ErrorCode, TenantryError

# SQLSTATE classes after which the same transaction may succeed: connection, resources, operator
# intervention (a restart), serialization and deadlock; and this process slept in a transaction.
_PASSING = ("08", "53", "57", "40", "55", "25P03")


class DatabaseUnreachable(TenantryError):
    """Postgres did not answer, or ended the transaction for reasons of its own.

    Whether a transaction that was being committed is written nobody knows: look, or repeat it in a
    way that does it once.
    """

    code = ErrorCode.DATABASE_UNREACHABLE
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The database did not answer.",
            # It may have gone away in the middle of a commit, after it was on its disk.
            hint="Try again; if it lasts, see the log. What this call was to write may be written: "
            "look first, or repeat it with its idempotency key.",
        )


class DatabaseNotMigrated(TenantryError):
    """The tables are older than this code."""

    code = ErrorCode.DATABASE_NOT_MIGRATED

    def __init__(self) -> None:
        super().__init__(
            "The database has not the tables that this version needs.",
            hint="Run `tenantry migrate` as the owner, then start again.",
        )


@contextmanager
def translate_driver_errors() -> Generator[None]:
    """Raise our errors for a database that is away or not migrated; pass all others on."""
    try:
        yield
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state == "42P01":
            raise DatabaseNotMigrated from error
        if is_passing(error):
            raise DatabaseUnreachable from error
        raise


def is_passing(error: DBAPIError) -> bool:
    """Say whether the same transaction, run again, may succeed."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING)
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
