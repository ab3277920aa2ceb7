"""Bounds on connections, below HTTP: how many, how slow to ask, how slow to read.

uvicorn bounds none of this: it waits for ever for the end of a request's head, keeps a connection
for ever whose client reads nothing, and tells a client what it sent wrong in plain text. What is
said here is a problem document as everywhere else.
"""

import asyncio
import logging
import re
import resource
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import h11
from starlette.requests import Request
from starlette.types import Scope
from typeid import TypeID
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from api import sockets
from api.manners import SECURITY_HEADERS
from api.problems import problem_response
from domain.errors import ErrorCode

_LOG = logging.getLogger("tenantry.api.connections")
# How long somebody who was refused may take to read why. What they still send is thrown away
# meanwhile: a connection that is closed with unread bytes breaks, and the answer with it.
_LINGER_S = 2.0
# Connections above the limit that are told so; further ones are closed without a word.
_MAX_TOLD = 64
_MAX_TICK_S = 1.0
# Files that are no clients: the database's connections, the log, the listening sockets.
_OTHER_FILES = 192
# Beyond what is on its way the system keeps at most so much for a client; else megabytes.
_UNSENT_BYTES = 128 * 1024
# The end of a request's head, as h11 has it; and how much of one that is not read is looked at.
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_PEEKED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """What one server allows."""

    max_connections: int = 4_000
    """When there are more, the one makes room that has owed us a request for longest."""
    head_timeout_s: float = 10.0
    """How long a client may take to send a request's line and headers."""
    stall_timeout_s: float = 20.0
    """How long a client may read nothing while there is something to read."""


class Connections:
    """All connections of one server, looked at in short intervals.

    One timer for all: a connection has several deadlines, which change with every request.
    """

    def __init__(self, bounds: ConnectionBounds, *, on_refused: Callable[[str], None]) -> None:
        """`on_refused` is told which bound was passed: `head`, `form`, `stall`, `connections`."""
        self.bounds = bounds
        self.on_refused = on_refused
        self._all: set[Connection] = set()
        # Those whose client owes us (the rest of) a request, the longest first.
        self._owing: dict[Connection, None] = {}
        # Those of them who have sent it, and wait to be read.
        self._asked: dict[Connection, None] = {}
        self._told: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        shortest_s = min(bounds.head_timeout_s, bounds.stall_timeout_s, _LINGER_S)
        self._tick_s = min(_MAX_TICK_S, shortest_s / 4)

    def admit(self, connection: "Connection") -> bool:
        """Take a connection in, in place of another one if need be; `False` if it cannot be."""
        is_full = len(self._all) >= self.bounds.max_connections and not self._make_room()
        self._watch(connection.loop)
        if is_full:
            self._told.add(connection)
            return False
        self._all.add(connection)
        return True

    @property
    def may_tell(self) -> bool:
        """Say whether one more that is turned away can be told why."""
        return len(self._told) <= _MAX_TOLD

    def set_owing(self, connection: "Connection", is_owing: bool) -> None:
        """Note that a client owes us a request from now on, or no longer."""
        self._owing.pop(connection, None)
        self._asked.pop(connection, None)
        if is_owing and connection in self._all:
            self._owing[connection] = None

    def forget(self, connection: "Connection") -> None:
        """Take a connection out that has ended."""
        self._all.discard(connection)
        self._told.discard(connection)
        self._owing.pop(connection, None)
        self._asked.pop(connection, None)

    def _make_room(self) -> bool:
        """End the connection that has owed us a request for longest, if there is one.

        Somebody who does not ask is not served, so closing them costs them nothing; and however
        many such connections there are, who asks at once is let in.
        """
        # Hundreds may be accepted before the first of them is read. Each is looked at only once.
        while self._owing and (longest := next(iter(self._owing))).has_asked():
            del self._owing[longest]
            self._asked[longest] = None
        longest = next(iter(self._owing or self._asked), None)
        if longest is None:
            return False
        self.on_refused("connections")
        longest.abort()
        self.forget(longest)
        return True

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(self._tick_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection in [*self._all, *self._told]:
            connection.look(now)
        if self._all or self._told:
            self._watch(loop)


class Connection(H11Protocol):
    """One client's connection; see `make_protocol`."""

    peers: Connections

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # How a route finds its connection: as `request.state.connection`.
        self.app_state = {**self.app_state, "connection": self}
        self._owes: str | None = None
        self._is_unread = False
        self._is_endless = False
        self._is_half_closed = False
        self._head_since: float | None = None
        self._stalled_since: float | None = None
        self._progress = 0
        self._refused_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a client in, or turn it away."""
        super().connection_made(transport)
        link = self._socket()
        if link is not None:
            sockets.bound_unsent(link, _UNSENT_BYTES)
        if self.peers.admit(self):
            self._head_since = self.loop.time()
            self._note_debt()
            return
        self.peers.on_refused("connections")
        if not self.peers.may_tell:
            self.abort()
            return
        self._refuse(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ErrorCode.REQUEST_TOO_MANY,
            message="There are too many open connections.",
            hint="Try again in a moment, and keep fewer open.",
            headers={"Retry-After": "2"},
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client."""
        self.peers.forget(self)
        # uvicorn leaves it to run out when the connection broke.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what a client sends."""
        if self._refused_since is not None:
            return
        if self._owes == "head" and self._head_since is None:
            self._head_since = self.loop.time()
        super().data_received(data)
        self._note_debt()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a request that is complete, though its client says nothing more after it.

        Not with an endless stream: whoever listens for ever and is gone looks the same.
        """
        if self._refused_since is not None or self._owes is not None or self._is_endless:
            return False
        self._is_half_closed = True
        self.cycle.keep_alive = False
        return True

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._is_endless = False
        super().on_response_complete()
        self._note_debt()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn calls this while it handles h11's error."""
        error = sys.exception()
        hinted = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        is_large = hinted == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        self.peers.on_refused("form")
        self._refuse(
            HTTPStatus(hinted),
            ErrorCode.REQUEST_TOO_LARGE if is_large else ErrorCode.REQUEST_INVALID,
            message="The request's line and headers are too long together."
            if is_large
            else "The request is not HTTP/1.1 as RFC 9112 has it.",
            hint="Send less in headers." if is_large else "Use a client library to make requests.",
        )

    def hold_open(self) -> None:
        """Note that the answer to the present request has no end of its own."""
        self._is_endless = True
        if self._is_half_closed:
            self.transport.close()

    def has_asked(self) -> bool:
        """Say whether the rest of a request's head is here, and only waits to be read."""
        link = self._socket()
        if self._owes != "head" or link is None:
            return False
        head = bytes(self.conn.trailing_data[0]) + sockets.peek(link, _PEEKED_BYTES)
        self._is_unread = _END_OF_HEAD.search(head) is not None
        return self._is_unread

    def abort(self) -> None:
        """End the connection at once, whatever is still to be sent."""
        link = self._socket()
        if link is not None:
            sockets.reset_on_close(link)
        self.transport.abort()

    def look(self, now: float) -> None:
        """End what is overdue."""
        bounds = self.peers.bounds
        if self._has_stalled(now):
            _LOG.info("dropped a client that stopped reading")
            self.peers.on_refused("stall")
            self.abort()
        elif self.transport.is_closing():
            pass
        elif self._refused_since is not None:
            if now - self._refused_since >= _LINGER_S:
                self.abort()
        elif self._head_since is not None and now - self._head_since >= bounds.head_timeout_s:
            self._give_up_head()

    def _has_stalled(self, now: float) -> bool:
        """Say whether the client reads nothing of what there is for it, for too long by now.

        One that reads slowly makes progress, and stays.
        """
        is_unread, progress = self._measure_unread()
        if not is_unread:
            self._stalled_since = None
        elif self._stalled_since is None or progress != self._progress:
            self._stalled_since, self._progress = now, progress
        return (
            self._stalled_since is not None
            and now - self._stalled_since >= self.peers.bounds.stall_timeout_s
        )

    def _measure_unread(self) -> tuple[bool, int]:
        """Say whether the client has anything to read, and a number that changes as it reads."""
        buffered = self.transport.get_write_buffer_size()
        link = self._socket()
        unread = None if link is None else sockets.measure_unread(link)
        if unread is None:
            return buffered > 0, buffered
        # What the system has taken from us may be unread as well: our buffer is empty then.
        is_unread, progress = unread
        return is_unread or buffered > 0, progress

    def _socket(self) -> socket.socket | None:
        return cast("socket.socket | None", self.transport.get_extra_info("socket"))

    def _give_up_head(self) -> None:
        self.peers.on_refused("head")
        if not self._has_begun_head():
            # Silence is no request: there is nothing to answer.
            self.transport.close()
            return
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT,
            ErrorCode.REQUEST_TIMED_OUT,
            message=f"The headers did not arrive within {self.peers.bounds.head_timeout_s:g} s.",
            hint="Send it again, over a better connection.",
        )

    def _has_begun_head(self) -> bool:
        return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def _open_cycle(self) -> RequestResponseCycle | None:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return None if cycle is None or cycle.response_complete else cycle

    def _note_debt(self) -> None:
        """Note what the client owes us now: a request's head, its body, or nothing."""
        if self._refused_since is not None:
            return
        cycle = self._open_cycle()
        owes = "head" if cycle is None else "body" if cycle.more_body else None
        if owes != self._owes or self._is_unread:
            self._owes, self._is_unread = owes, False
            self.peers.set_owing(self, owes is not None)
        if owes != "head":
            self._head_since = None

    def _refuse(
        self,
        status: HTTPStatus,
        code: ErrorCode,
        *,
        message: str,
        hint: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer in the application's place, and end the connection."""
        self._refused_since = self.loop.time()
        self._unset_keepalive_if_required()
        cycle = self._open_cycle()
        if cycle is not None:
            # The route that waits for the rest of the request is told that it never comes.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.abort()
                return
        request_id = str(TypeID(prefix="req"))
        scope: Scope = {"type": "http", "headers": [], "state": {"request_id": request_id}}
        answer = problem_response(
            Request(scope), code, status=status, message=message, hint=hint, headers=headers
        )
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}".encode(),
            *(
                name + b": " + value
                for name, value in (
                    *self.server_state.default_headers,
                    *answer.raw_headers,
                    *SECURITY_HEADERS,
                    (b"x-request-id", request_id.encode()),
                    (b"connection", b"close"),
                )
            ),
        ]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()


def make_protocol(
    bounds: ConnectionBounds, *, on_refused: Callable[[str], None]
) -> type[asyncio.Protocol]:
    """Make the class that uvicorn makes one server's connections of."""
    peers = Connections(bounds, on_refused=on_refused)
    return cast(type[asyncio.Protocol], type("BoundedConnection", (Connection,), {"peers": peers}))


def fit_to_files(wanted: int) -> int:
    """Let the process open a file for each connection; return how many connections it may hold.

    Where files run out, a server can accept nobody, however idle those are who hold them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    possible = max(1, soft - _OTHER_FILES)
    _LOG.warning("%d files may be open, so %d connections are let in", soft, possible)
    return possible
