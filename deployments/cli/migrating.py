"""`tenantry migrate`: bring the database up to date."""

from rich.text import Text
from sqlalchemy.exc import DBAPIError

from deployments.cli.invocation import DONE, CommandInvalid, Invocation, Invoked
from deployments.cli.opening import open_quietly
from deployments.cli.screen import Progress, answers, show_json
from deployments.wiring import owner_url, role_urls
from domain.errors import ErrorCode, InvalidInput, Problem
from persistence.migrate import head_revision, migrate

# SQLSTATE: insufficient_privilege.
_NOT_ALLOWED = "42501"


class OwnerUrlInvalid(InvalidInput):
    """The URL of the tables' owner does not serve to migrate."""

    code = ErrorCode.SETTINGS_INVALID
    subject = "environment"


def migrate_tables(*, call: Invoked) -> int:
    """Create the tables that are missing and change those that are old.

    Needs TENANTRY_DATABASE_URL as the owner; the embedded database needs nothing. Running it
    again changes nothing.
    """
    if call.is_embedded:
        # Opening it is migrating it.
        with open_quietly(call):
            revision = head_revision()
    else:
        revision = _migrate_own(call)
    if call.as_json:
        show_json({"revision": revision})
    else:
        said = f"The database is up to date, at revision {revision}."
        answers().print(Text.assemble(("✓ ", "green"), said))
    return DONE


def _migrate_own(call: Invocation) -> str:
    owner = owner_url(call.settings)
    if not owner.password and call.settings.database_app_url is None:
        raise _refused(
            "TENANTRY_DATABASE_URL has no password, from which those of the other roles are made.",
            "Add it, or set TENANTRY_DATABASE_APP_URL and TENANTRY_DATABASE_PLATFORM_URL.",
        )
    app_url, platform_url = role_urls(call.settings)
    try:
        with Progress("Migrating the database"):
            return migrate(owner, app_url=app_url, platform_url=platform_url)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_ALLOWED:
            raise
        raise _refused(
            f"The role `{owner.username}` may not change this database.",
            "Give the role that owns the tables, with CREATEROLE or with the roles "
            "`tenantry_app` and `tenantry_platform` made by an administrator.",
        ) from error
    except ValueError as error:
        # The texts are our own: a URL for another role, a role that is exempt from policies.
        raise CommandInvalid(
            f"The roles do not fit: {error}.",
            hint="Correct TENANTRY_DATABASE_APP_URL, TENANTRY_DATABASE_PLATFORM_URL or the role.",
        ) from error


def _refused(message: str, hint: str) -> OwnerUrlInvalid:
    problem = Problem(ErrorCode.SETTINGS_INVALID, "/TENANTRY_DATABASE_URL", message, hint)
    return OwnerUrlInvalid([problem])
