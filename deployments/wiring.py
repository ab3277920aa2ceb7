"""Put the parts together for a process: settings in, database and runtime out."""

import logging
import secrets
import sys
import time

from pydantic import SecretStr
from sqlalchemy import URL, make_url

from deployments.settings import Settings
from domain.errors import ErrorCode, InvalidInput, Problem
from persistence.happenings_log import LOG as EXECUTIONS_LOG
from persistence.happenings_log import ExecutionSample
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from persistence.sessions import Database, open_database


class SettingMissing(InvalidInput):
    """A process cannot start without this setting."""

    code = ErrorCode.SETTINGS_INVALID
    subject = "environment"


def role_urls(settings: Settings) -> tuple[URL, URL]:
    """Give the URLs of the roles `tenantry_app` and `tenantry_platform`.

    Raises:
        SettingMissing: neither they nor the owner's URL is set.
    """
    own_app, own_platform = settings.database_app_url, settings.database_platform_url
    app, platform = (
        make_url(own.get_secret_value()) if own else derive_role_url(owner_url(settings), role)
        for own, role in ((own_app, APP_ROLE), (own_platform, PLATFORM_ROLE))
    )
    return app, platform


def owner_url(settings: Settings) -> URL:
    """Give the URL of the tables' owner.

    Raises:
        SettingMissing: it is not set.
    """
    if settings.database_url is None:
        raise _missing("TENANTRY_DATABASE_URL", "Which database to use is not set.")
    return make_url(settings.database_url.get_secret_value())


def without_owner(settings: Settings) -> Settings:
    """Give settings for a process that only serves tenants: it cannot change tables.

    Raises:
        SettingMissing: neither the roles' URLs nor the owner's is set.
    """
    app, platform = role_urls(settings)
    return settings.model_copy(
        update={
            "database_url": None,
            "database_app_url": SecretStr(app.render_as_string(hide_password=False)),
            "database_platform_url": SecretStr(platform.render_as_string(hide_password=False)),
        }
    )


def open_database_of(settings: Settings, *, pool_size: int = 5) -> Database:
    """Make the engines of a process; nothing is connected yet.

    Raises:
        SettingMissing: a URL or the audit key is not set.
    """
    if settings.audit_key is None:
        raise _missing("TENANTRY_AUDIT_KEY", "The key that seals the audit trail is not set.")
    app_url, platform_url = role_urls(settings)
    return open_database(
        app_url=app_url,
        platform_url=platform_url,
        audit_key=settings.audit_key.get_secret_value().encode(),
        pool_size=pool_size,
    )


def start_logging(settings: Settings) -> None:
    """Write our log lines to standard error, times in UTC. Prefect sets up its own."""
    logger = logging.getLogger("tenantry")
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger.handlers[:] = [handler]
    logger.setLevel(settings.log_level)
    logger.propagate = False
    EXECUTIONS_LOG.filters[:] = [ExecutionSample(settings.log_sample)]
    # Where none is wanted none is made: that costs a third of writing it.
    EXECUTIONS_LOG.setLevel(logging.NOTSET if settings.log_sample else logging.WARNING)


def new_audit_key() -> str:
    """Draw a key for an audit chain: 256 bits, as 64 hex digits."""
    return secrets.token_hex(32)


def _missing(name: str, message: str) -> SettingMissing:
    hint = f"Set {name}, or leave all of it to `tenantry up`."
    return SettingMissing([Problem(ErrorCode.SETTINGS_INVALID, f"/{name}", message, hint)])
