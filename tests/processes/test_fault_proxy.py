"""The fault proxy does to real connections what it says."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.plan import FaultKind
from tests.chaos.proxy import FaultProxy, fault_proxy

LINK = ("client", "server")
PATIENCE_S = 20.0
SHORT_S = 0.3


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(4096):
                        connection.sendall(data)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        # Wakes the one that waits in `accept`.
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with fault_proxy() as proxy:
        yield proxy


@pytest.fixture
def port(proxy: FaultProxy, echo_port: int) -> int:
    return proxy.add(*LINK, target_port=echo_port)


@pytest.fixture
def line(port: int) -> Iterator[socket.socket]:
    """A connection through the proxy, over which something has been."""
    with connect(port) as connection:
        assert say(connection, b"hello") == b"hello"
        yield connection


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def say(connection: socket.socket, what: bytes) -> bytes:
    connection.sendall(what)
    return connection.recv(4096)


def hears_nothing(connection: socket.socket) -> bool:
    connection.settimeout(SHORT_S)
    try:
        connection.recv(4096)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE_S)
    return False


def test_everything_passes_without_a_fault(proxy: FaultProxy, line: socket.socket):
    assert say(line, b"again") == b"again"
    assert proxy.count_hits() == 0


def test_a_reset_ends_what_is_open_and_nothing_more(
    proxy: FaultProxy, line: socket.socket, port: int
):
    proxy.begin(*LINK, FaultKind.RESET)
    with pytest.raises(ConnectionResetError):
        line.recv(4096)
    with connect(port) as other:
        assert say(other, b"new") == b"new"


def test_what_is_held_comes_late(proxy: FaultProxy, line: socket.socket):
    proxy.begin(*LINK, FaultKind.HOLD)
    line.sendall(b"late")
    assert hears_nothing(line)
    proxy.end(*LINK)
    assert line.recv(4096) == b"late"


def test_what_goes_into_a_black_hole_never_comes_and_its_connection_ends(
    proxy: FaultProxy, line: socket.socket, port: int
):
    proxy.begin(*LINK, FaultKind.BLACKHOLE)
    line.sendall(b"lost")
    with connect(port) as other:
        other.sendall(b"lost, too")
        assert hears_nothing(line)
        assert hears_nothing(other)
        proxy.end(*LINK)
        for each in (line, other):
            with pytest.raises(ConnectionResetError):
                each.recv(4096)
    with connect(port) as new:
        assert say(new, b"new") == b"new"


def test_who_is_refused_is_reset(proxy: FaultProxy, line: socket.socket, port: int):
    proxy.begin(*LINK, FaultKind.REFUSE)
    with pytest.raises(ConnectionResetError):
        line.recv(4096)
    with pytest.raises(ConnectionResetError), connect(port) as other:
        other.recv(4096)
    proxy.end(*LINK)
    with connect(port) as new:
        assert say(new, b"new") == b"new"


def test_a_delay_makes_an_answer_late(proxy: FaultProxy, line: socket.socket):
    # On both ways.
    proxy.begin(*LINK, FaultKind.DELAY, delay_s=SHORT_S)
    line.sendall(b"slow")
    assert hears_nothing(line)
    assert line.recv(4096) == b"slow"
    assert proxy.count_hits() == 2


def test_a_fault_hits_its_own_link_only(proxy: FaultProxy, port: int, echo_port: int):
    other = proxy.add("other", "server", target_port=echo_port)
    proxy.begin(*LINK, FaultKind.BLACKHOLE)
    with connect(other) as connection:
        assert say(connection, b"here") == b"here"


def test_a_server_that_is_away_looks_away(proxy: FaultProxy):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = taken.getsockname()[1]
    port = proxy.add("lonely", "server", target_port=gone)
    with pytest.raises(ConnectionResetError), connect(port) as connection:
        connection.recv(4096)
