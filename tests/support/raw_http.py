"""HTTP as no client library would write it, over plain sockets."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30


@dataclass(frozen=True)
class RawAnswer:
    """One answer; all zero and empty if the connection ended without."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes = b""
    """What followed it on the connection."""

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document that it is; anything else fails the test."""
        assert self.headers["content-type"] == "application/problem+json", self
        return json.loads(self.body)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", port), TIMEOUT_S)) as link:
        yield link


def send_all(link: socket.socket, data: bytes) -> None:
    # A server that refuses need not hear the rest: its answer tells.
    with suppress(BrokenPipeError, ConnectionResetError):
        link.sendall(data)


def read_to_end(link: socket.socket) -> bytes:
    """Read until the server closes; one that breaks the connection ends it, too."""
    parts: list[bytes] = []
    with suppress(ConnectionResetError):
        while part := link.recv(65536):
            parts.append(part)
    return b"".join(parts)


def parse(data: bytes) -> RawAnswer:
    """Take the first answer off what a server sent."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head:
        return RawAnswer(0, {}, b"")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    size = int(headers.get("content-length", len(rest)))
    return RawAnswer(int(first.split(" ")[1]), headers, rest[:size], rest[size:])


def exchange(port: int, data: bytes, *, half_close: bool = False) -> RawAnswer:
    """Send bytes, and read until the server closes."""
    with connected(port) as link:
        send_all(link, data)
        if half_close:
            with suppress(OSError):
                link.shutdown(socket.SHUT_WR)
        return parse(read_to_end(link))


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    token: str | None = None,
    **headers: str | int,
) -> bytes:
    """Write a request whose answer is the connection's last; `_` stands for `-` in names."""
    all_headers: dict[str, str | int] = {"Host": "x", "Connection": "close"}
    if token is not None:
        all_headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        all_headers |= {"Content-Type": "application/json", "Content-Length": len(body)}
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in all_headers.items()]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
    return head.encode("latin-1") + (body or b"")
