"""What a command knows besides its own arguments: for whom it acts, and how it shall answer."""

import re
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from deployments.settings import Settings
from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, UserId
from domain.text import quote

DONE, BAD_RESULT, WRONG_USE, UNEXPECTED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes. `BAD_RESULT`: the command worked, and what it found is bad."""

_USER = re.compile(r"user_[0-9a-z_]{1,90}")


class CommandInvalid(TenantryError):
    """A command's arguments have no meaning."""

    code = ErrorCode.COMMAND_INVALID


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of `tenantry`."""

    settings: Settings
    org_id: OrgId
    user_id: UserId
    as_json: bool

    @property
    def is_embedded(self) -> bool:
        """Say whether the database is the one that we start ourselves."""
        settings = self.settings
        return settings.database_url is None and settings.database_app_url is None


Invoked = Annotated[Invocation, Parameter(parse=False)]
"""Type of the parameter in which a command gets its invocation."""


def make_invocation(
    settings: Settings, *, org: str | None, user: str | None, as_json: bool
) -> Invocation:
    """Fill in from the settings what the command line leaves open.

    Raises:
        CommandInvalid: the user's id is none; it would stand in the audit trail for ever.
    """
    user_id = user or settings.user
    if not _USER.fullmatch(user_id):
        raise CommandInvalid(
            f"{quote(user_id)} is not a user's id.",
            hint="Ids of users look like `user_anna`: small letters, digits and `_`. Set it with "
            "`--user` or TENANTRY_USER.",
        )
    return Invocation(settings, OrgId(org or settings.org), UserId(user_id), as_json)
