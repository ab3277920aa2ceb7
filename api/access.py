"""Who asks, and what they may reach: every route below `/api/v1` takes an `Access`."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.state import ApiState, state_of
from domain.permissions import Permission, Principal
from persistence.sessions import OrgSession, Origin
from persistence.tokens import TokenInvalid, authenticate

# auto_error: its own refusal would be no problem document, and would tell why.
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="An API token, `tnt_…`.")
_MAX_AGENT_CHARS = 400


@dataclass(frozen=True, slots=True)
class Access:
    """One request's way to the rows of its own organization."""

    state: ApiState
    principal: Principal
    origin: Origin

    @contextmanager
    def open(self, *, snapshot: bool = False) -> Generator[OrgSession]:
        """Open a transaction as the one who asks; the database shows it only their rows."""
        with self.state.database.org(
            self.principal.org_id,
            user_id=self.principal.user_id,
            origin=self.origin,
            snapshot=snapshot,
        ) as session:
            yield session


def allow(permission: Permission) -> Callable[..., Access]:
    """Make the dependency that lets a route's callers in, if they have this permission.

    Every route names exactly one, which the tests read back from here.
    """

    def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Access:
        state = state_of(request)
        if credentials is None:
            raise TokenInvalid
        with state.database.for_platform() as session:
            principal = authenticate(session, credentials.credentials)
        request.state.principal = principal
        principal.check_can(permission)
        return Access(state, principal, origin_of(request))

    check.permission = permission  # pyright: ignore[reportFunctionMemberAccess]
    return check


def origin_of(request: Request) -> Origin:
    """Say where a request came from, as the audit trail keeps it."""
    agent = request.headers.get("user-agent")
    return Origin(
        ip_address=request.client.host if request.client else None,
        # Headers are Latin-1 by HTTP: any byte is text, and Postgres takes all but NUL.
        user_agent=agent.replace("\x00", "")[:_MAX_AGENT_CHARS] if agent else None,
    )
