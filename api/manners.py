"""What every answer has: a request id, security headers, a log line; and no body too large."""

import logging
import re
import time
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typeid import TypeID

from api.problems import unexpected_response

_LOG = logging.getLogger("tenantry.api.access")
# The client left before there was an answer. No status of HTTP: what nginx writes for it.
UNANSWERED = 499
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,80}")
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=31536000"),
)


class Manners:
    """ASGI middleware, not Starlette's base class: that one buffers streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, is_answered = time.perf_counter(), UNANSWERED, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_answered
            if message["type"] == "http.response.start":
                status, is_answered = message["status"], True
                have = {name.lower() for name, _ in message["headers"]}
                extra = [(name, value) for name, value in SECURITY_HEADERS if name not in have]
                message["headers"] = [
                    *message["headers"],
                    *extra,
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            # Starlette's own handler of these stands outside of all middleware: its answer would
            # have no request id, and it breaks the connection after it.
            if is_answered:
                raise
            answer = unexpected_response(Request(scope), error)
            await answer(scope, receive, send_with_headers)
        finally:
            _log(scope, request_id, status, time.perf_counter() - started)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return value.decode()
    return str(TypeID(prefix="req"))


def _log(scope: Scope, request_id: str, status: int, seconds: float) -> None:
    principal: Any = scope.get("state", {}).get("principal")
    _LOG.info(
        "%s %s %d %.1f ms",
        scope["method"],
        scope["path"],
        status,
        seconds * 1000,
        extra={
            "request_id": request_id,
            "org_id": getattr(principal, "org_id", None),
            "user_id": getattr(principal, "user_id", None),
        },
    )
