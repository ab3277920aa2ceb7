"""Limits on what a request may be and how many there may be, before any route sees it.

Counted in this process's memory: with several API processes each allows its own share.
"""

import asyncio
import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response
from api.state import ApiState, Rate
from domain.errors import ErrorCode, Problem
from domain.json_checks import MAX_DEPTH
from domain.permissions import Principal

_MAX_KEYS = 50_000
# A body that is too large is read on for a little, unkept: a client that writes it whole before
# it reads would otherwise see a broken connection instead of the answer.
_DISCARDED_BYTES = 16 * 1024 * 1024
_DISCARD_S = 5.0
# Scanning less than this takes less time than a thread takes to start.
_SMALL_BODY_BYTES = 64 * 1024
_BRACKET_OR_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_JSON = re.compile(rb"application/(?:[a-z0-9.+-]+\+)?json\b", re.IGNORECASE)
# More than any route has. FastAPI's time grows with the square of unknown ones: one URL of 64 KiB
# stopped a process for ten seconds.
_MAX_PARAMETERS = 200
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Level:
    tokens: float
    at: float


class Buckets(Generic[Key]):
    """Token buckets by key; the ones that were used longest ago are forgotten, as full."""

    def __init__(self, name: str, rate: Rate) -> None:
        self.name, self.rate = name, rate
        self._levels: OrderedDict[Key, _Level] = OrderedDict()

    def take(self, key: Key, now: float) -> float:
        """Take one; return how many are left, below 0 if there was none to take."""
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = _Level(self.rate.burst, now)
            if len(self._levels) > _MAX_KEYS:
                self._levels.popitem(last=False)
        self._levels.move_to_end(key)
        grown = level.tokens + (now - level.at) * self.rate.per_s
        level.tokens, level.at = min(float(self.rate.burst), grown), now
        left = level.tokens - 1
        if left >= 0:
            level.tokens = left
        return left

    @property
    def window_s(self) -> int:
        """Say in how many seconds an empty bucket is full again."""
        return max(1, math.ceil(self.rate.burst / self.rate.per_s))


@dataclass(frozen=True, slots=True)
class _Allowance:
    """What one limit says about one request."""

    name: str
    rate: Rate
    window_s: int
    left: float

    @property
    def policy(self) -> str:
        return f'"{self.name}";q={self.rate.burst};w={self.window_s}'

    @property
    def state(self) -> str:
        missing = self.rate.burst - max(0.0, self.left)
        return (
            f'"{self.name}";r={max(0, math.floor(self.left))}'
            f";t={math.ceil(missing / self.rate.per_s)}"
        )

    @property
    def retry_after_s(self) -> int:
        return max(1, math.ceil(-self.left / self.rate.per_s))


class Limits:
    """ASGI middleware: rates, size, depth and time of what comes in.

    The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
    """

    def __init__(self, app: ASGIApp, *, state: ApiState) -> None:
        self._app, self._state = app, state
        self._tokens = Buckets[bytes]("token", state.token_rate)
        self._orgs = Buckets[str]("org", state.org_rate)
        self._strangers = Buckets[str]("address", state.stranger_rate)
        # Which organization a token that was let in is of, by the token's hash.
        self._known: OrderedDict[bytes, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = _token_of(scope)
        allowances = self._count(scope, token)
        used_up = [allowance for allowance in allowances if allowance.left < 0]

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_rate_headers(allowances)]
            await send(message)

        with suppress(ClientDisconnect):
            if used_up:
                answer = self._too_many(scope, used_up)
            elif scope["query_string"].count(b"&") >= _MAX_PARAMETERS:
                answer = self._too_many_parameters(scope)
            else:
                answer, receive = await self._read(scope, receive)
            await (answer or self._app)(scope, receive, send_and_tell)
        self._learn(scope, token)

    def _count(self, scope: Scope, token: bytes | None) -> list[_Allowance]:
        now = time.monotonic()
        org_id = None if token is None else self._known.get(token)
        if token is None or org_id is None:
            client = scope.get("client")
            return [_take(self._strangers, client[0] if client else "", now)]
        return [_take(self._tokens, token, now), _take(self._orgs, org_id, now)]

    def _learn(self, scope: Scope, token: bytes | None) -> None:
        principal = cast("Principal | None", scope.get("state", {}).get("principal"))
        if token is None or principal is None:
            return
        self._known[token] = principal.org_id
        self._known.move_to_end(token)
        if len(self._known) > _MAX_KEYS:
            self._known.popitem(last=False)

    def _too_many(self, scope: Scope, used_up: list[_Allowance]) -> Response:
        worst = max(used_up, key=lambda allowance: allowance.retry_after_s)
        self._state.counters.refused.labels(f"rate_{worst.name}").inc()
        return problem_response(
            Request(scope),
            ErrorCode.REQUEST_TOO_MANY,
            message=f"There were too many requests by this {worst.name}.",
            hint=f"Wait {worst.retry_after_s} s, and send fewer; `RateLimit` tells what is left.",
            headers={"Retry-After": str(worst.retry_after_s)},
        )

    def _too_many_parameters(self, scope: Scope) -> Response:
        self._state.counters.refused.labels("parameters").inc()
        return problem_response(
            Request(scope),
            ErrorCode.REQUEST_INVALID,
            message=f"The query has more than {_MAX_PARAMETERS} parameters.",
            hint="See the API's document for those that a route has.",
        )

    async def _read(self, scope: Scope, receive: Receive) -> tuple[Response | None, Receive]:
        """Read a body whole and check it; return a refusal, and what the route receives from."""
        if scope["method"] in _BODILESS:
            return None, receive
        is_bulk = scope["path"].rstrip("/").endswith("/bulk")
        state = self._state
        limit = state.max_bulk_body_bytes if is_bulk else state.max_body_bytes
        timeout_s = state.bulk_body_timeout_s if is_bulk else state.body_timeout_s
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            return await self._too_large(scope, receive, limit), receive
        if is_bulk:
            # It may be read item by item, and its items are checked one by one.
            return None, _bounded(receive, limit=limit, timeout_s=timeout_s)
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
        if not any(name == b"expect" for name, _ in scope["headers"]):
            await _discard(receive)
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


def _token_of(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            # The hash, so that no token stays in memory longer than its request.
            return hashlib.sha256(value).digest()
    return None


def _take(buckets: Buckets[Key], key: Key, now: float) -> _Allowance:
    return _Allowance(buckets.name, buckets.rate, buckets.window_s, buckets.take(key, now))


def _rate_headers(allowances: list[_Allowance]) -> list[tuple[bytes, bytes]]:
    policies = ", ".join(allowance.policy for allowance in allowances)
    tightest = min(allowances, key=lambda allowance: allowance.left)
    return [
        (b"ratelimit-policy", policies.encode()),
        (b"ratelimit", tightest.state.encode()),
    ]


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


async def _discard(receive: Receive) -> None:
    size = 0
    try:
        async with asyncio.timeout(_DISCARD_S):
            while size < _DISCARDED_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _bounded(receive: Receive, *, limit: int, timeout_s: float) -> Receive:
    """Pass a body on as it comes; break it off when it is too much or takes too long."""
    size, deadline, is_done = 0, time.monotonic() + timeout_s, False

    async def receive_bounded() -> Message:
        nonlocal size, is_done
        if is_done:
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                message = await receive()
        except TimeoutError:
            # FastAPI passes its own kind of error through, and hides all others.
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None
        size += len(message.get("body", b""))
        is_done = not message.get("more_body", False)
        if size > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return receive_bounded


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
