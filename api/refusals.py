"""Audit what was refused: attempts by somebody known to do what they may not, or cannot."""

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import origin_of
from api.platform_metrics import route_of
from api.state import ApiState
from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.json_data import JsonObject
from domain.permissions import Principal
from persistence.audit import add_audit

_LOG = logging.getLogger("tenantry.api.refusals")
_WINDOW_S = 60.0
_MAX_TOKENS = 50_000
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_REFUSED_WRITES = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})


@dataclass(slots=True)
class _Window:
    """How many refusals of one token were audited since a time, and how many only counted."""

    since: float
    written: int = 0
    left_out: int = 0


class Refusals:
    """ASGI middleware: after a refusal is answered, one short transaction notes it.

    Kept are the method, the route's template, the problem's code and the token's id; not what
    was sent. At most `max_refusals_audited` entries a minute and token are written, so that a
    flood fills no table; the next entry after that says how many were left out, as `left_out`.
    """

    def __init__(self, app: ASGIApp, *, state: ApiState) -> None:
        self._app, self._state = app, state
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, send_and_look)
        principal = cast("Principal | None", scope.get("state", {}).get("principal"))
        if principal is not None and _is_refusal(scope["method"], status):
            await self._note(scope, principal, status)

    async def _note(self, scope: Scope, principal: Principal, status: int) -> None:
        left_out = self._may_write(principal.token_id)
        if left_out is None:
            return
        details: JsonObject = {
            "method": scope["method"],
            "route": route_of(scope),
            "status": status,
            "code": str(scope["state"].get("problem_code", "")),
            "token_id": principal.token_id,
        }
        if left_out:
            details["left_out"] = left_out
        try:
            await asyncio.to_thread(self._write, Request(scope), principal, details)
        except Exception:
            # The answer is sent already: what fails here must not break its connection.
            _LOG.exception("a refusal is not in the audit trail")

    def _may_write(self, token_id: str) -> int | None:
        """Say how many were left out before this one; `None` if it is to be left out itself."""
        now = time.monotonic()
        window = self._windows.setdefault(token_id, _Window(now))
        self._windows.move_to_end(token_id)
        if len(self._windows) > _MAX_TOKENS:
            self._windows.popitem(last=False)
        if now - window.since >= _WINDOW_S:
            window.since, window.written = now, 0
        if window.written >= self._state.max_refusals_audited:
            window.left_out += 1
            return None
        window.written += 1
        left_out, window.left_out = window.left_out, 0
        return left_out

    def _write(self, request: Request, principal: Principal, details: JsonObject) -> None:
        entry = AuditEntry(
            action="access.refused",
            resource_type="api",
            resource_id=None,
            success=False,
            timestamp=utc_now(),
            user_id=principal.user_id,
            details=details,
            error_message=str(details["code"]),
        )
        with self._state.database.org(
            principal.org_id, user_id=principal.user_id, origin=origin_of(request)
        ) as session:
            add_audit(session, [entry])


def _is_refusal(method: str, status: int) -> bool:
    if status == HTTPStatus.FORBIDDEN:
        return True
    return method in _WRITES and status in _REFUSED_WRITES
