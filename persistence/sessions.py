"""Sessions: for one tenant, held to it by the database, or for the platform's few acts."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.orm import Session

from domain.ids import OrgId, UserId
from persistence.driver_errors import translate_driver_errors


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for the audit trail."""

    ip_address: str | None = None
    user_agent: str | None = None


class OrgSession(Session):
    """A transaction as role `tenantry_app` that sees the rows of one organization only."""

    org_id: OrgId
    user_id: UserId | None
    origin: Origin


class PlatformSession(Session):
    """A transaction as role `tenantry_platform`: claims, run look-ups, publishing. No payloads."""


@dataclass(frozen=True, slots=True)
class Database:
    """The two ways in that a running process has. The owner's is for migrations only."""

    app: Engine
    platform: Engine
    audit_key: bytes

    @contextmanager
    def org(
        self,
        org_id: OrgId,
        *,
        user_id: UserId | None = None,
        origin: Origin | None = None,
        snapshot: bool = False,
    ) -> Generator[OrgSession]:
        """Open one transaction for one organization; commit at the end, roll back on an error.

        Args:
            user_id: who acts, and `origin` from where: for the audit trail.
            snapshot: all statements see the moment of the first one (REPEATABLE READ), for
                reads of several tables or pages that must fit together.

        Raises:
            DatabaseUnreachable: Postgres is away; the same call may succeed later.
        """
        with translate_driver_errors(), OrgSession(self.app, expire_on_commit=False) as session:
            session.org_id, session.user_id = org_id, user_id
            session.origin = origin or Origin()
            session.info["audit_key"] = self.audit_key
            with session.begin():
                if snapshot:
                    session.execute(_SNAPSHOT)
                session.execute(_SET_ORG, {"org_id": org_id})
                yield session

    @contextmanager
    def for_platform(self) -> Generator[PlatformSession]:
        """Open one transaction across organizations, for the queue and the steward.

        Raises:
            DatabaseUnreachable: Postgres is away; the same call may succeed later.
        """
        with (
            translate_driver_errors(),
            PlatformSession(self.platform, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.app.dispose()
        self.platform.dispose()


# Local to the transaction: a pooled connection never carries a tenant into the next one.
_SNAPSHOT = text("set transaction isolation level repeatable read")
_SET_ORG = text("select set_config('app.org_id', :org_id, true)")

# A process that freezes in the middle of a transaction keeps its locks, the queue's among them,
# and all other workers wait. It is about as long as a lease.
_IDLE_S = 10


def open_database(
    *,
    app_url: URL,
    platform_url: URL,
    audit_key: bytes,
    pool_size: int = 5,
    idle_s: int = _IDLE_S,
) -> Database:
    """Make the engines; no connection is opened before the first session.

    Args:
        pool_size: connections that each of the two engines keeps; up to twice that under load.
        idle_s: seconds after which PostgreSQL ends a session that does nothing in the middle of a
            transaction.
    """
    if len(audit_key) < 32:
        raise ValueError("the audit key needs at least 32 bytes")
    return Database(
        app=_engine(app_url, pool_size, idle_s),
        platform=_engine(platform_url, pool_size, idle_s),
        audit_key=audit_key,
    )


def _engine(url: URL, pool_size: int, idle_s: int) -> Engine:
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        # One round trip per checkout, so that a restarted Postgres costs no failed transaction.
        pool_pre_ping=True,
        # Parameters are tenants' data, and errors reach logs.
        hide_parameters=True,
        connect_args={
            "application_name": "tenantry",
            "connect_timeout": 5,
            # A server that vanished without a word is given up long before TCP would.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": "-c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC "
            f"-c idle_in_transaction_session_timeout={idle_s}s",
        },
    )
