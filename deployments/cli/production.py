"""What the services need to be told when nobody starts them for you."""

from deployments.cli.invocation import Invocation
from deployments.cli.own_database import check_database_urls
from deployments.settings import PREFECT_API_URL
from deployments.wiring import SettingMissing, open_database_of
from domain.errors import ErrorCode, Problem
from persistence.schema_version import check_migrated


def check_can_serve(call: Invocation) -> None:
    """Make sure that a service can work with these settings, before it starts.

    Raises:
        DatabaseUrlInvalid: the database's URLs cannot be used.
        SettingMissing: it is not said which database or which Prefect.
        DatabaseNotMigrated: the tables are older than this version.
        DatabaseUnreachable: the database does not answer.
    """
    check_database_urls(call.settings)
    database = open_database_of(call.settings)
    try:
        check_migrated(database)
    finally:
        database.close()
    if call.settings.prefect_api_url is None:
        message = "Which Prefect server to use is not set."
        hint = f"Set {PREFECT_API_URL}, or leave all of it to `tenantry up`."
        raise SettingMissing(
            [Problem(ErrorCode.SETTINGS_INVALID, f"/{PREFECT_API_URL}", message, hint)]
        )
