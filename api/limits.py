"""Limits on what a request may be and how many there may be, before any route sees it.

Counted in this process's memory: with several API processes each allows its own share.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.bodies import Bodies
from api.problems import problem_response
from api.state import ApiState, Rate
from domain.errors import ErrorCode
from domain.permissions import Principal

_MAX_KEYS = 50_000
# More than any route has. FastAPI's time grows with the square of unknown ones: one URL of 64 KiB
# stopped a process for ten seconds.
_MAX_PARAMETERS = 200

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
    """ASGI middleware: how often one may ask; `Bodies` bounds what is sent.

    The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
    """

    def __init__(self, app: ASGIApp, *, state: ApiState) -> None:
        self._bodies, self._state = Bodies(app, state=state), state
        self._tokens = Buckets[bytes]("token", state.token_rate)
        self._orgs = Buckets[str]("org", state.org_rate)
        self._strangers = Buckets[str]("address", state.stranger_rate)
        # Which organization a token that was let in is of, by the token's hash.
        self._known: OrderedDict[bytes, str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._bodies(scope, receive, send)
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
                answer = None
            await (answer or self._bodies)(scope, receive, send_and_tell)
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
