"""What the system knows of a client's socket, and does with it, that asyncio does not tell."""

import socket
import struct
import sys

# Of Linux's `struct tcp_info`, which only ever grows: packets that are not acknowledged, bytes
# that are, and bytes that were not sent (https://man7.org/linux/man-pages/man7/tcp.7.html).
_TCP_INFO = struct.Struct("=24xI92xQ16xI")
_TCP_INFO_BYTES = _TCP_INFO.size
_TCP = (socket.AF_INET, socket.AF_INET6)
_RESET = struct.pack("ii", 1, 0)


def reset_on_close(link: socket.socket) -> None:
    """Have the system drop what is still to be sent when the socket is closed."""
    # Closed in the ordinary way, the system would go on offering it to the client.
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def bound_unsent(link: socket.socket, limit_bytes: int) -> None:
    """Have the system keep at most so much for a client beyond what is on its way."""
    option: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and link.family in _TCP:
        link.setsockopt(socket.IPPROTO_TCP, option, limit_bytes)


def measure_unread(link: socket.socket) -> tuple[bool, int] | None:
    """Say whether the client has anything to read, and a number that changes as it reads.

    `None` where the system does not tell.
    """
    if link.family not in _TCP or not sys.platform.startswith("linux"):
        return None
    info = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    if len(info) < _TCP_INFO_BYTES:
        return None
    unacknowledged, acknowledged_bytes, unsent_bytes = _TCP_INFO.unpack(info)
    return bool(unacknowledged or unsent_bytes), acknowledged_bytes


def peek(link: socket.socket, limit_bytes: int) -> bytes:
    """Return what the client has sent and nobody has read, and leave it there.

    Nothing where there is nothing, or the connection has ended.
    """
    # asyncio hands out no socket that can be read; this one shares the file, and must not close it.
    reader = socket.socket(link.family, link.type, link.proto, fileno=link.fileno())
    try:
        return reader.recv(limit_bytes, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""
    finally:
        reader.detach()
