"""Who asks, and what they may reach: every route below `/api/v1` takes an `Access`."""

import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.types import Scope

from api.batching import Together
from api.state import ApiState, state_of
from domain.ids import TokenId
from domain.permissions import Permission, Principal
from persistence.driver_errors import DatabaseUnreachable
from persistence.notifications import find_allowed
from persistence.sessions import Database, OrgSession, Origin
from persistence.tokens import TokenInvalid, authenticate

# auto_error: its own refusal would be no problem document, and would tell why.
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="An API token, `tnt_…`.")
_MAX_AGENT_CHARS = 400
# How long a token that was let in before its body was read needs no second look.
_FRESH_S = 1.0


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


class Doorkeeper:
    """Finds out who a request comes from; one for each process.

    Every request is looked up anew, so that a token that is revoked, or a role that is taken
    away, counts from the next request on, in whichever process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together = Together[None, str, Principal](
            self._look_up, name="doorkeeper", most=500, threads=1
        )

        # Of all open streams together, so that many of them ask one question at a time.
        self._staying = Together[Permission, TokenId, bool](
            self._look_again, name="streams", most=500, threads=1
        )

    async def may_stay(self, principal: Principal, permission: Permission) -> bool:
        """Say whether a token that let somebody in would still let them do this.

        Raises:
            DatabaseUnreachable: the database is away.
        """
        return await self._staying.ask(permission, principal.token_id)

    async def identify(self, secret: str) -> Principal:
        """Find out who a token lets in.

        Raises:
            TokenInvalid: nobody.
            DatabaseUnreachable: the database is away.
        """
        return await self._together.ask(None, secret)

    def _look_up(self, _: None, secrets: Sequence[str]) -> Sequence[Principal | Exception]:
        with self._database.for_platform() as session:
            return authenticate(session, secrets)

    def _look_again(self, permission: Permission, ids: Sequence[TokenId]) -> Sequence[bool]:
        with self._database.for_platform() as session:
            allowed = find_allowed(session, ids, permission)
        return [id in allowed for id in ids]


def allow(permission: Permission) -> Callable[..., Awaitable[Access]]:
    """Make the dependency that lets a route's callers in, if they have this permission.

    Every route names exactly one, which the tests read back from here.
    """

    async def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Access:
        state = state_of(request)
        if credentials is None:
            raise TokenInvalid
        early = cast("_Early | None", getattr(request.state, "early", None))
        if early is not None and time.monotonic() - early.at < _FRESH_S:
            principal = early.principal
        else:
            doorkeeper = cast(Doorkeeper, request.app.state.doorkeeper)
            principal = await doorkeeper.identify(credentials.credentials)
        request.state.principal = principal
        principal.check_can(permission)
        return Access(state, principal, origin_of(request))

    check.permission = permission  # pyright: ignore[reportFunctionMemberAccess]
    return check


@dataclass(frozen=True, slots=True)
class _Early:
    """Who a token let in before the body was read, and when that was."""

    principal: Principal
    at: float


async def identify_early(scope: Scope) -> bool:
    """Find out whether a request's token lets anybody in, before its body is read.

    The route's own check need not ask again, unless the body took long: the token may have been
    revoked meanwhile. What is wrong with the token, or with the database, is said there.
    """
    authorization = next((v for n, v in scope["headers"] if n == b"authorization"), b"")
    scheme, secret = get_authorization_scheme_param(authorization.decode("latin-1"))
    if scheme.lower() != "bearer" or not secret:
        return False
    doorkeeper = cast(Doorkeeper, scope["app"].state.doorkeeper)
    try:
        principal = await doorkeeper.identify(secret)
    except (TokenInvalid, DatabaseUnreachable):
        return False
    scope["state"]["early"] = _Early(principal, time.monotonic())
    return True


def origin_of(request: Request) -> Origin:
    """Say where a request came from, as the audit trail keeps it."""
    agent = request.headers.get("user-agent")
    return Origin(
        ip_address=request.client.host if request.client else None,
        # Headers are Latin-1 by HTTP: any byte is text, and Postgres takes all but NUL.
        user_agent=agent.replace("\x00", "")[:_MAX_AGENT_CHARS] if agent else None,
    )
