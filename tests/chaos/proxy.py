"""A TCP proxy that stands between a service and what it talks to, and misbehaves when told to."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.chaos.plan import FaultKind

T = TypeVar("T")
_CHUNK = 65_536
# With a linger of 0 a close sends a reset.
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Link:
    """One port that leads to another one."""

    target_port: int
    port: int = 0
    mode: FaultKind | None = None
    """The fault that lasts; `None`: everything passes."""
    delay_s: float = 0.0
    hits: int = 0
    """How often a fault met something: a connection, or something sent."""
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Carry one connection, until either side closes it or a fault does."""
        self._connections.add(to_client)
        to_server: asyncio.StreamWriter | None = None
        try:
            if self.mode is FaultKind.REFUSE:
                self.hits += 1
                _reset(to_client)
                return
            try:
                server, to_server = await asyncio.open_connection("127.0.0.1", self.target_port)
            except OSError:
                _reset(to_client)
                return
            self._connections.add(to_server)
            pumps = {
                asyncio.create_task(self._pump(client, to_server)),
                asyncio.create_task(self._pump(server, to_client)),
            }
            _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in left:
                pump.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        finally:
            for writer in (to_client, to_server):
                if writer is not None:
                    self._connections.discard(writer)
                    writer.close()

    async def begin(self, kind: FaultKind, *, delay_s: float = 0.0) -> None:
        """Begin a fault; it lasts until `end`, and a reset is over at once."""
        if kind in (FaultKind.RESET, FaultKind.REFUSE):
            self._reset_all()
        if kind is not FaultKind.RESET:
            self._become(kind, delay_s)

    async def end(self) -> None:
        """Let everything pass again; connections that lost something are reset."""
        if self.mode is FaultKind.BLACKHOLE:
            self._reset_all()
        self._become(None, 0.0)

    def _become(self, mode: FaultKind | None, delay_s: float) -> None:
        self.mode, self.delay_s = mode, delay_s
        self._changed.set()
        self._changed = asyncio.Event()

    def _reset_all(self) -> None:
        self.hits += len(self._connections)
        for writer in list(self._connections):
            _reset(writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                self.hits += self.mode is not None
                if self.mode is FaultKind.BLACKHOLE:
                    continue
                while self.mode is FaultKind.HOLD:
                    await self._changed.wait()
                if self.mode is FaultKind.DELAY:
                    await asyncio.sleep(self.delay_s)
                sink.write(data)
                await sink.drain()


class FaultProxy:
    """Links under names, in a thread with a loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy")
        self._links: dict[tuple[str, str], Link] = {}

    def add(self, client: str, server: str, *, target_port: int) -> int:
        """Open a port for a client that leads to a server's; return it."""
        link = self._links[client, server] = self._run(_open(target_port))
        return link.port

    def begin(self, client: str, server: str, kind: FaultKind, *, delay_s: float = 0.0) -> None:
        """Begin a fault on a link."""
        self._run(self._links[client, server].begin(kind, delay_s=delay_s))

    def end(self, client: str, server: str) -> None:
        """End whatever fault a link has."""
        self._run(self._links[client, server].end())

    def count_hits(self) -> int:
        """Count how often a fault met something."""
        return sum(link.hits for link in self._links.values())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        self._run(_end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30)
        self._loop.close()


@contextmanager
def fault_proxy() -> Iterator[FaultProxy]:
    """Have a proxy, until the block ends."""
    proxy = FaultProxy()
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


async def _open(target_port: int) -> Link:
    link = Link(target_port)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    # Served until its task is cancelled.
    _serving.add(asyncio.create_task(server.serve_forever()))
    return link


_serving: set[asyncio.Task[None]] = set()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
