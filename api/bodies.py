"""Bounds on bodies: who may send one, how large, how deep, how slowly.

What comes from somebody unknown is never kept, and no body is read before it is known whose it is.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import identify_early
from api.problems import problem_response
from api.state import ApiState
from domain.errors import ErrorCode, Problem
from domain.json_checks import MAX_DEPTH

# A body that is refused is read on for a little, unkept: a client that writes it whole before
# it reads would otherwise see a broken connection instead of the answer.
_DISCARDED_BYTES = 16 * 1024 * 1024
_DISCARD_S = 5.0
# The same for those whom nobody knows.
_STRANGERS_DISCARDED_BYTES = 1024 * 1024
_STRANGERS_DISCARD_S = 1.0
# Scanning less than this takes less time than a thread takes to start.
_SMALL_BODY_BYTES = 64 * 1024
_BRACKET_OR_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_JSON = re.compile(rb"application/(?:[a-z0-9.+-]+\+)?json\b", re.IGNORECASE)
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Bodies:
    """ASGI middleware: size, depth and time of bodies."""

    def __init__(self, app: ASGIApp, *, state: ApiState) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not _announces_body(headers):
            await self._app(scope, receive, send)
        elif not await identify_early(scope):
            # The route refuses it, or there is none: neither needs what was sent.
            await self._app(scope, _Unread(), _discarding(scope, receive, send))
        elif scope["path"].rstrip("/").endswith("/bulk"):
            await self._pass_on(scope, receive, send, headers)
        else:
            answer, receive = await self._read(scope, receive, headers)
            await (answer or self._app)(scope, receive, send)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]
    ) -> None:
        """Let a bulk route read as it goes: its items are checked one by one."""
        state = self._state
        is_json = _JSON.match(headers.get(b"content-type", b""))
        limit = state.max_bulk_json_bytes if is_json else state.max_bulk_body_bytes
        if _length_of(headers) > limit:
            answer = await self._too_large(scope, receive, limit)
            await answer(scope, receive, send)
            return
        body = _Bounded(receive, limit=limit, timeout_s=state.bulk_body_timeout_s)

        async def send_after_body(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.is_done:
                body.is_done = True
                await _discard(receive, size_bytes=_DISCARDED_BYTES, time_s=_DISCARD_S)
            await send(message)

        await self._app(scope, body, send_after_body)

    async def _read(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes]
    ) -> tuple[Response | None, Receive]:
        """Read a body whole and check it; return a refusal, and what the route receives from."""
        limit, timeout_s = self._state.max_body_bytes, self._state.body_timeout_s
        if _length_of(headers) > limit:
            return await self._too_large(scope, receive, limit), receive
        try:
            async with asyncio.timeout(timeout_s):
                body = await _read_body(receive, limit)
        except TimeoutError:
            return self._too_slow(scope, timeout_s), receive
        if body is None:
            return await self._too_large(scope, receive, limit), receive
        if _JSON.match(headers.get(b"content-type", b"")) and await _is_too_deep(body):
            self._state.counters.refused.labels("depth").inc()
            return _too_deep(scope), receive
        return None, _replay(body, receive)

    async def _too_large(self, scope: Scope, receive: Receive, limit: int) -> Response:
        self._state.counters.refused.labels("size").inc()
        if not _waits_for_leave(scope):
            await _discard(receive, size_bytes=_DISCARDED_BYTES, time_s=_DISCARD_S)
        return problem_response(
            Request(scope),
            ErrorCode.REQUEST_TOO_LARGE,
            message=f"The body is larger than {limit:,} bytes.",
            hint="Send less at once.",
            headers={"Connection": "close"},
        )

    def _too_slow(self, scope: Scope, timeout_s: float) -> Response:
        self._state.counters.refused.labels("time").inc()
        return problem_response(
            Request(scope),
            ErrorCode.REQUEST_TIMED_OUT,
            message=f"The body did not arrive within {timeout_s:g} s.",
            hint="Send it again, over a better connection or in smaller parts.",
            headers={"Connection": "close"},
        )


def _announces_body(headers: Mapping[bytes, bytes]) -> bool:
    return b"transfer-encoding" in headers or _length_of(headers) > 0


def _length_of(headers: Mapping[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _waits_for_leave(scope: Scope) -> bool:
    """Say whether the client sends no body before it is told `100 Continue`."""
    return any(name == b"expect" for name, _ in scope["headers"])


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _discard(receive: Receive, *, size_bytes: int, time_s: float) -> None:
    size = 0
    try:
        async with asyncio.timeout(time_s):
            while size < size_bytes:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _discarding(scope: Scope, receive: Receive, send: Send) -> Send:
    """Throw away a part of an unknown client's body before it is answered."""

    async def send_after_discard(message: Message) -> None:
        if message["type"] == "http.response.start":
            if not _waits_for_leave(scope):
                await _discard(
                    receive, size_bytes=_STRANGERS_DISCARDED_BYTES, time_s=_STRANGERS_DISCARD_S
                )
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_after_discard


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class _Unread:
    """Receives an empty body in place of one that is not read."""

    async def __call__(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}


class _Bounded:
    """Passes a body on as it comes; breaks it off when it is too much or takes too long."""

    def __init__(self, receive: Receive, *, limit: int, timeout_s: float) -> None:
        self._receive, self._limit, self._timeout_s = receive, limit, timeout_s
        self._size = 0
        self._deadline: float | None = None
        self.is_done = False

    async def __call__(self) -> Message:
        if self.is_done:
            return await self._receive()
        # From when it is asked for: it may have to wait for its turn first.
        self._deadline = self._deadline or time.monotonic() + self._timeout_s
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            # FastAPI passes its own kind of error through, and hides all others.
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None
        self._size += len(message.get("body", b""))
        self.is_done = not message.get("more_body", False)
        if self._size > self._limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message


async def _is_too_deep(body: bytes) -> bool:
    # No bracket is deep if there are not even so many: nearly every body ends here.
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    if len(body) <= _SMALL_BODY_BYTES:
        return _depth_exceeds(body, MAX_DEPTH)
    return await asyncio.to_thread(_depth_exceeds, body, MAX_DEPTH)


def _depth_exceeds(body: bytes, limit: int) -> bool:
    depth = 0
    for found in _BRACKET_OR_TEXT.finditer(body):
        match found[0]:
            case b"[" | b"{":
                depth += 1
                if depth > limit:
                    return True
            case b"]" | b"}":
                depth -= 1
            case _:
                pass
    return False


def _too_deep(scope: Scope) -> Response:
    problem = Problem(
        ErrorCode.FIELD_INVALID,
        "",
        f"The data is nested deeper than {MAX_DEPTH} levels.",
        "Flatten it: put fewer objects and lists inside each other.",
    )
    return problem_response(
        Request(scope),
        ErrorCode.REQUEST_INVALID,
        message=problem.message,
        hint=problem.hint,
        problems=[problem],
    )
