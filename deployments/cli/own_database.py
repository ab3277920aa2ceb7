"""Whether the URLs of a database of one's own can be used at all, before they are."""

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from deployments.settings import Settings
from domain.errors import ErrorCode, InvalidInput, Problem

_OWNER = "TENANTRY_DATABASE_URL"
_SHAPE = "Write it as postgresql://user:password@host:5432/database."


class DatabaseUrlInvalid(InvalidInput):
    """A URL of the database does not say what is needed."""

    code = ErrorCode.SETTINGS_INVALID
    subject = "environment"


def check_database_urls(settings: Settings) -> None:
    """Make sure that the URLs that are set can be read, and that none is missing.

    Raises:
        DatabaseUrlInvalid: with every problem found; none repeats a URL, which holds a password.
    """
    given = {
        _OWNER: settings.database_url,
        "TENANTRY_DATABASE_APP_URL": settings.database_app_url,
        "TENANTRY_DATABASE_PLATFORM_URL": settings.database_platform_url,
    }
    problems: list[Problem] = []
    for name, url in given.items():
        if url is not None and not _is_readable(url.get_secret_value()):
            problems.append(problem_with(name, f"{name} is no URL of a database.", _SHAPE))
    owner = settings.database_url
    if owner is not None and not problems and not make_url(owner.get_secret_value()).password:
        lacking = [name for name, url in given.items() if url is None]
        if lacking:
            message = f"{_OWNER} has no password, from which those of the other roles are made."
            problems.append(
                problem_with(_OWNER, message, f"Add it, or set {' and '.join(lacking)}.")
            )
    if problems:
        raise DatabaseUrlInvalid(problems)


def problem_with(name: str, message: str, hint: str) -> Problem:
    """Describe what is wrong with a setting."""
    return Problem(ErrorCode.SETTINGS_INVALID, f"/{name}", message, hint)


def _is_readable(url: str) -> bool:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    return bool(parsed.host and parsed.database and parsed.username)
