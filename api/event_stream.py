"""Live events: one LISTEN connection and one reader per organization, however many clients.

A client has no queue. It holds its position, and takes what lies behind it from its
organization's newest events, which all clients share, or from the table when it is far back. So a
slow client costs nothing but its place, and delays nobody.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from api.connections import Connection
from domain.errors import TenantryError
from domain.ids import OrgId
from persistence.notifications import EVENTS, ExecutionEvent, get_last_seq, list_events, listen
from persistence.sessions import Database

_LOG = logging.getLogger("tenantry.api.events")
_KEPT_EVENTS = 1_000
_PAGE = 500
# Without news for so long, the connection is tried, and the table looked at once.
_QUIET_S = 15.0
_MAX_WAIT_S = 15.0
_RETRY_S = 1.0


@dataclass(slots=True)
class _Feed:
    """The newest events of one organization, while somebody listens."""

    recent: deque[ExecutionEvent] = field(
        default_factory=lambda: deque[ExecutionEvent](maxlen=_KEPT_EVENTS)
    )
    head: int | None = None
    clients: int = 0
    stale: bool = False
    reading: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, head: int, events: list[ExecutionEvent]) -> None:
        """Take in news, and wake all who wait."""
        self.head = head
        self.recent.extend(events)
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    def after(self, position: int) -> list[ExecutionEvent] | None:
        """List what lies behind a position; `None` if only the table knows."""
        if self.head is None or position >= self.head:
            return []
        if not self.recent or position + 1 < self.recent[0].seq:
            return None
        first = position + 1 - self.recent[0].seq
        return list(islice(self.recent, first, first + _PAGE))


class EventHub:
    """What all event streams of a process share. Lives in one event loop."""

    def __init__(self, database: Database, *, on_count: Callable[[int], None]) -> None:
        """`on_count` is told how many clients there are, each time that changes."""
        self._database = database
        self._on_count = on_count
        self._feeds: dict[OrgId, _Feed] = {}
        self._listener: asyncio.Task[None] | None = None
        self.clients = 0

    def clients_of(self, org_id: OrgId) -> int:
        """Count an organization's clients."""
        feed = self._feeds.get(org_id)
        return feed.clients if feed else 0

    async def follow(
        self, org_id: OrgId, position: int, *, tick_s: float
    ) -> AsyncGenerator[list[ExecutionEvent]]:
        """Give the organization's events behind a position, in order, for ever.

        Gives an empty list after each `tick_s` without any. A gap in `seq` means that events
        were removed because of their age before they were read.
        """
        feed = self._join(org_id)
        try:
            while True:
                changed = feed.changed
                events = feed.after(position)
                if events is None:
                    events = await self._read_back(org_id, position)
                if events:
                    position = events[-1].seq
                    yield events
                    continue
                try:
                    async with asyncio.timeout(tick_s):
                        await changed.wait()
                except TimeoutError:
                    yield []
        finally:
            self._leave(org_id, feed)

    def _join(self, org_id: OrgId) -> _Feed:
        feed = self._feeds.setdefault(org_id, _Feed())
        feed.clients += 1
        self._count(+1)
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen(), name="events")
        if feed.head is None:
            self._wake(org_id)
        return feed

    def _leave(self, org_id: OrgId, feed: _Feed) -> None:
        feed.clients -= 1
        if feed.clients == 0:
            self._feeds.pop(org_id)
        self._count(-1)
        if self.clients == 0 and self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def _count(self, change: int) -> None:
        self.clients += change
        self._on_count(self.clients)

    async def _listen(self) -> None:
        wait_s = 0.5
        while True:
            try:
                async with aclosing(
                    listen(self._database.app, channel=EVENTS, quiet_s=_QUIET_S)
                ) as news:
                    async for heard in news:
                        wait_s = 0.5
                        for org_id in list(self._feeds) if heard is None else heard:
                            self._wake(OrgId(org_id))
            except TenantryError as error:
                _LOG.warning("not listening for events, next try in %.1f s: %s", wait_s, error)
            except Exception:
                # All streams of the process hang on this loop: it goes on.
                _LOG.exception("not listening for events, next try in %.1f s", wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(_MAX_WAIT_S, wait_s * 2)

    def _wake(self, org_id: OrgId) -> None:
        feed = self._feeds.get(org_id)
        if feed is None:
            return
        feed.stale = True
        if feed.reading is None:
            feed.reading = asyncio.create_task(self._read(org_id, feed))

    async def _read(self, org_id: OrgId, feed: _Feed) -> None:
        try:
            if feed.head is None:
                feed.move(await asyncio.to_thread(self._last_seq, org_id), [])
            while feed.stale:
                feed.stale = False
                events = await asyncio.to_thread(self._list, org_id, feed.head or 0)
                if events:
                    # It may have been woken meanwhile, by a commit that the query did not see.
                    feed.stale = feed.stale or len(events) == _PAGE
                    feed.move(events[-1].seq, events)
        except TenantryError as error:
            _LOG.warning("events are not read: %s", error)
            self._wake_later(org_id)
        except Exception:
            _LOG.exception("events are not read")
            self._wake_later(org_id)
        finally:
            feed.reading = None

    def _wake_later(self, org_id: OrgId) -> None:
        # The listener may be well, and this organization have no further news for long.
        asyncio.get_running_loop().call_later(_RETRY_S, self._wake, org_id)

    async def _read_back(self, org_id: OrgId, position: int) -> list[ExecutionEvent]:
        try:
            return await asyncio.to_thread(self._list, org_id, position)
        except TenantryError as error:
            _LOG.warning("events are not read: %s", error)
            return []

    def _list(self, org_id: OrgId, after: int) -> list[ExecutionEvent]:
        with self._database.org(org_id) as session:
            return list_events(session, after=after, limit=_PAGE)

    def _last_seq(self, org_id: OrgId) -> int:
        with self._database.org(org_id) as session:
            return get_last_seq(session)


class EventStream(EventSourceResponse):
    """Server-sent events; a client that reads nothing for too long is dropped."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, stops reading, or the process ends."""
        connection = scope.get("state", {}).get("connection")
        if isinstance(connection, Connection):
            connection.hold_open()
            # It looks itself whether the client reads, and is kinder to one that is only slow.
            self.send_timeout = None
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            # The server closes the connection, because the answer is not complete.
            _LOG.info("dropped a listener that stopped reading")
