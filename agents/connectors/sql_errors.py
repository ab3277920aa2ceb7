"""Why a database does not give its records: the cause by its SQLSTATE, never its own words."""

from psycopg import errors as postgres
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agents.connectors.limits import ReadLimits
from agents.errors import (
    ConnectorTimedOut,
    ConnectorUnreachable,
    DataNotFound,
    DataTooLarge,
    DataUnreadable,
)
from domain.errors import TenantryError
from domain.text import quote

_MEMORY_CLASS = "53200"
# Object in use, lock not available.
_BUSY = frozenset({"55006", "55P03"})
_SIGN_IN = frozenset({"28000", "28P01", "3D000"})


def read_error(error: SQLAlchemyError, object_type: str, *, limits: ReadLimits) -> TenantryError:
    """Tell what a failed read means, and whether to try it again helps."""
    original = error.orig if isinstance(error, DBAPIError) else None
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return _by_state(state, object_type, limits=limits)
    if "out of memory" in str(original):
        return _no_memory(object_type)
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_cut(original)):
        return ConnectorUnreachable(
            f"The connection to the connector's database was cut while {quote(object_type)} was "
            "read.",
            hint="It is tried again. If it comes back, look into the database server's log.",
        )
    return DataUnreadable(
        f"The database cannot read {quote(object_type)}: the file is damaged, or the view's own "
        "query fails.",
        hint="Select from it with the database's own tool, and mend what that complains about.",
    )


def connect_error(error: SQLAlchemyError) -> TenantryError:
    """Tell why no connection came about."""
    original = error.orig if isinstance(error, DBAPIError) else None
    state = getattr(original, "sqlstate", None)
    if isinstance(original, postgres.ConnectionTimeout) or "timeout expired" in str(original):
        return ConnectorTimedOut(
            "The connector's database took longer than allowed to answer the sign-in.",
            hint="Check that a PostgreSQL listens at the address in the connector's `url`.",
        )
    what = "refuses the sign-in" if state in _SIGN_IN else "does not answer, or refuses the sign-in"
    return ConnectorUnreachable(
        f"The connector's database {what}.",
        hint="Check that the database is up and reachable from here, and the user and "
        "password in the connector's `url`.",
    )


def timed_out(shown: str, *, limits: ReadLimits) -> ConnectorTimedOut:
    """Tell that a read took too long."""
    return ConnectorTimedOut(
        f"Reading {shown} took longer than {limits.read_s:g} seconds.",
        hint="Make a view with fewer rows or an index that it can use; a view must come to an end.",
    )


def _by_state(state: str, object_type: str, *, limits: ReadLimits) -> TenantryError:
    shown = quote(object_type)
    match state[:2]:
        case "42" if state == "42501":
            return DataUnreadable(
                f"The database refuses to read the table {shown}.",
                hint="Give the connector's database user the right to read it (`GRANT SELECT`).",
            )
        case "42" if state in ("42P01", "3F000"):
            return DataNotFound(
                f"The connector's database has no table called {shown} any more.",
                hint="Correct `object_type` in the agent's config.",
            )
        case "57" if state == "57014":
            return timed_out(shown, limits=limits)
        case "53" if state == _MEMORY_CLASS:
            return _no_memory(object_type)
        case "08" | "57" | "53" | "40":
            return _broken_off(state, shown)
        case _ if state in _BUSY:
            return _broken_off(state, shown)
        case _:
            return DataUnreadable(
                f"The database cannot compute {shown}: {_name(state)}.",
                hint="Select all of it with the database's own tool, and mend the view or the "
                "data that fails.",
            )


def _broken_off(state: str, shown: str) -> ConnectorUnreachable:
    return ConnectorUnreachable(
        f"The connector's database stopped reading {shown}: {_name(state)}.",
        hint="It is tried again. If it comes back, look into the database server's log.",
    )


def _name(state: str) -> str:
    try:
        known = postgres.lookup(state).__name__
    except KeyError:
        return f"SQLSTATE {state}"
    words = "".join(f" {each.lower()}" if each.isupper() else each for each in known).strip()
    return f"{words} (SQLSTATE {state})"


def _is_cut(original: BaseException | None) -> bool:
    return isinstance(original, postgres.OperationalError | postgres.InterfaceError)


def _no_memory(object_type: str) -> DataTooLarge:
    return DataTooLarge(
        f"The records of {quote(object_type)} need more memory than one read may take.",
        hint="Make a view without its largest columns.",
    )
