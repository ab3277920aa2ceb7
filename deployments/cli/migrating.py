"""`tenantry migrate`: bring the database up to date."""

from collections.abc import Generator
from contextlib import contextmanager

from rich.text import Text
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from deployments.catalogue import write_catalogue
from deployments.cli.invocation import DONE, CommandInvalid, Invocation, Invoked
from deployments.cli.opening import open_quietly
from deployments.cli.own_database import (
    DatabaseUrlInvalid,
    check_database_urls,
    problem_with,
)
from deployments.cli.screen import answers, remarks, show_json
from deployments.wiring import owner_url, role_urls
from persistence.migrate import migrate, migrate_roles
from persistence.schema_version import head_revision

# SQLSTATE: insufficient_privilege.
_NOT_ALLOWED = "42501"


def migrate_tables(*, roles_only: bool = False, call: Invoked) -> int:
    """Create the tables that are missing, change those that are old, and list the agent types.

    Needs TENANTRY_DATABASE_URL as the owner; the embedded database needs nothing. Each migration
    is named before it runs and is a transaction of its own: stopped in the middle, run it again.

    Args:
        roles_only: Make the database roles and no table, in a database that a backup is then
            restored into.
    """
    if roles_only:
        return _make_roles(call)
    if call.is_embedded:
        # Opening it is migrating it.
        with open_quietly(call) as installation:
            write_catalogue(installation.settings)
            revision = head_revision()
    else:
        revision = _migrate_own(call)
    if call.as_json:
        show_json({"revision": revision})
    else:
        said = f"The database is up to date, at revision {revision}."
        answers().print(Text.assemble(("✓ ", "green"), said))
    return DONE


def _make_roles(call: Invocation) -> int:
    with _owner_problems(call) as (owner, app_url, platform_url):
        migrate_roles(owner, app_url=app_url, platform_url=platform_url)
    if call.as_json:
        show_json({"revision": None})
    else:
        answers().print(Text.assemble(("✓ ", "green"), "The roles are there."))
    return DONE


def _migrate_own(call: Invocation) -> str:
    with _owner_problems(call) as (owner, app_url, platform_url):
        revision = migrate(
            owner,
            app_url=app_url,
            platform_url=platform_url,
            say=lambda line: remarks().print(line),
        )
        write_catalogue(call.settings)
    return revision


@contextmanager
def _owner_problems(call: Invocation) -> Generator[tuple[URL, URL, URL]]:
    """Give the URLs of owner and roles; say what is wrong with them in terms of the settings."""
    check_database_urls(call.settings)
    owner = owner_url(call.settings)
    app_url, platform_url = role_urls(call.settings)
    try:
        yield owner, app_url, platform_url
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_ALLOWED:
            raise
        problem = problem_with(
            "TENANTRY_DATABASE_URL",
            f"The role `{owner.username}` may not change this database.",
            "Give the role that owns the tables, with CREATEROLE or with the roles "
            "`tenantry_app` and `tenantry_platform` made by an administrator.",
        )
        raise DatabaseUrlInvalid([problem]) from error
    except ValueError as error:
        # The texts are our own: a URL for another role, a role that is exempt from policies.
        raise CommandInvalid(
            f"The roles do not fit: {error}.",
            hint="Correct TENANTRY_DATABASE_APP_URL, TENANTRY_DATABASE_PLATFORM_URL or the role.",
        ) from error
