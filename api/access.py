"""Who asks, and what they may reach: every route below `/api/v1` takes an `Access`."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.batching import Together
from api.state import ApiState, state_of
from domain.permissions import Permission, Principal
from persistence.sessions import Database, OrgSession, Origin
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
        doorkeeper = cast(Doorkeeper, request.app.state.doorkeeper)
        principal = await doorkeeper.identify(credentials.credentials)
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
