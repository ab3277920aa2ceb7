"""Prometheus figures of the whole platform: counted beside requests, read on a port of their own.

Never served on the tenants' port: they tell of all organizations together.
"""

import asyncio
import time

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.manners import UNANSWERED
from api.queue_metrics import WINDOW_S, QueueCollector
from api.state import ApiState
from api.steward_metrics import StewardCollector, StewardFigures, read_figures
from domain.errors import TenantryError
from domain.served import PlatformService
from persistence.metrics import QueueLength, measure_queue

# Whoever scrapes more often gets the same figures of the queue, and Postgres one query.
_QUEUE_KEPT_S = 5.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """ASGI middleware that counts answers and how long they took."""

    def __init__(self, app: ASGIApp, *, state: ApiState) -> None:
        self._app = app
        self._counters = state.counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, is_stream = time.perf_counter(), UNANSWERED, False

        async def send_and_look(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(
                    name == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message["headers"]
                )
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        except Exception:
            # It is answered further out.
            status = 500
            raise
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            labels = (method, route_of(scope), f"{status // 100}xx")
            self._counters.requests.labels(*labels).inc()
            if not is_stream:
                seconds = time.perf_counter() - started
                self._counters.request_seconds.labels(*labels).observe(seconds)


def route_of(scope: Scope) -> str:
    """Name the route that answered, as a template: its values are few, as paths are not."""
    template = getattr(scope.get("route"), "path", None)
    if not isinstance(template, str):
        return "unmatched"
    if ":path}" in template:
        return template
    # FastAPI gives the route without its routers' prefixes, which are fixed text: they are what
    # the path has in front of as many segments as the template has.
    parts, path = template.split("/"), scope["path"].split("/")
    return "/".join([*path[: len(path) - len(parts) + 1], *parts[1:]])


def create_metrics_app(state: ApiState) -> Starlette:
    """Make the application that serves `/metrics`; give it a port that tenants do not reach."""
    queue = _QueueGauge(state)

    async def metrics(_: Request) -> Response:
        await queue.refresh()
        body = generate_latest(state.counters.registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics, methods=["GET"])])


class _QueueGauge:
    """Asks the database for queue and steward, not more often than it is worth."""

    def __init__(self, state: ApiState) -> None:
        self._state = state
        self._read_at = float("-inf")
        self._turn = asyncio.Lock()
        self._steward = StewardCollector()
        self._service = QueueCollector(most_orgs=state.most_org_series)
        state.counters.registry.register(self._steward)
        state.counters.registry.register(self._service)

    async def refresh(self) -> None:
        """Bring the gauges up to date; a database that is away is a figure, too."""
        async with self._turn:
            if time.monotonic() - self._read_at < _QUEUE_KEPT_S:
                return
            counters = self._state.counters
            try:
                length, steward, service = await asyncio.to_thread(self._measure)
            except TenantryError:
                counters.queue_readable.set(0)
                self._steward.figures = self._service.figures = None
            else:
                self._steward.figures, self._service.figures = steward, service
                counters.queue_readable.set(1)
                counters.queue_waiting.set(length.waiting)
                counters.queue_oldest_age_seconds.set(length.oldest_age_s)
            self._read_at = time.monotonic()

    def _measure(self) -> tuple[QueueLength, StewardFigures, PlatformService]:
        with self._state.database.for_platform() as session:
            length, steward = measure_queue(session), read_figures(session)
        return length, steward, self._state.service.look(window_s=WINDOW_S)
