"""Clients of event streams by the hundred: raw sockets of one event loop."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Heard:
    """One event as a client received it."""

    seq: int
    execution_id: str
    workflow_id: str
    status: str
    delay_s: float
    """From the commit in the database to the client's hands."""


@dataclass(eq=False)
class Listener:
    """One client, which keeps what it hears over any number of connections."""

    port: int
    token: str
    position: int | None = None
    heard: list[Heard] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """The names of events other than `execution`, `ready` left out."""
    _reader: asyncio.StreamReader = field(init=False)
    _writer: asyncio.StreamWriter = field(init=False)
    _rest: bytes = b""

    async def open(self) -> None:
        """Connect, resume behind what was heard, and wait until the stream is ready."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = ["GET /api/v1/events HTTP/1.1", "Host: x", f"Authorization: Bearer {self.token}"]
        if self.position is not None:
            lines.append(f"Last-Event-ID: {self.position}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        self._rest = b""
        # The first chunk is the event `ready`.
        await self._read_chunk()
        assert self.position is not None

    async def close(self) -> None:
        """Disconnect."""
        self._writer.close()
        # What the server still sends is of no interest, nor is how the connection ends.
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def hear(self, count: int) -> None:
        """Read until so many events were heard in all, or the server ends the stream."""
        while len(self.heard) < count and await self._read_chunk():
            pass

    async def _read_chunk(self) -> bool:
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = (await self._reader.readexactly(size + 2))[:-2]
        now = time.time()
        *blocks, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for block in blocks:
            self._take(block, now)
        return size > 0

    def _take(self, block: bytes, now: float) -> None:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\r\n"))
        name = fields.get("event")
        if name == "execution":
            data = json.loads(fields["data"])
            at = datetime.fromisoformat(data["at"]).timestamp()
            self.position = int(fields["id"])
            self.heard.append(
                Heard(
                    self.position,
                    data["execution_id"],
                    data["workflow_id"],
                    data["status"],
                    now - at,
                )
            )
        elif name == "ready":
            self.position = int(fields["id"])
        elif name is not None:
            self.others.append(name)


@asynccontextmanager
async def listening(listeners: Sequence[Listener]) -> AsyncIterator[None]:
    """Connect all of them, and disconnect them at the end."""
    await asyncio.gather(*(listener.open() for listener in listeners))
    try:
        yield
    finally:
        await asyncio.gather(*(listener.close() for listener in listeners))
