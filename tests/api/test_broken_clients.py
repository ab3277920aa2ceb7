"""Clients that are slow, silent, half gone or no clients at all: others are served as before."""

import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.api.attacks import HEAD_TIMEOUT_S, MAX_CONNECTIONS, Target, target
from tests.support.databases import Cluster
from tests.support.raw_http import (
    connected,
    exchange,
    parse,
    read_to_end,
    send_all,
)

pytestmark = pytest.mark.processes

SLOW = 400
HEAD = b"GET /api/v1/workflows HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.fixture(scope="module")
def service(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    with target(cluster, template, tmp_path_factory.mktemp("service")) as served:
        yield served
        served.check_sound()


@contextmanager
def frozen(service: Target) -> Iterator[None]:
    """Let the service's process do nothing during the block."""
    service.served.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        service.served.process.send_signal(signal.SIGCONT)


def trickle(service: Target, *, begin: bytes, for_s: float) -> None:
    """Send from hundreds of connections, more than the service holds, a byte at a time."""
    with ExitStack() as open_links:
        links = [open_links.enter_context(connected(service.port)) for _ in range(SLOW)]
        for link in links:
            send_all(link, begin)
        ends_at = time.monotonic() + for_s
        while time.monotonic() < ends_at:
            for link in links:
                send_all(link, b"x")
            time.sleep(0.5)
        assert service.served.open_connections() <= MAX_CONNECTIONS + 10


@pytest.mark.parametrize("begin", [b"", b"G", HEAD], ids=["silent", "line", "headers"])
def test_hundreds_of_connections_that_never_ask_keep_nobody_out(service: Target, begin: bytes):
    with service.in_use():
        trickle(service, begin=begin, for_s=2 * HEAD_TIMEOUT_S)
    service.check_sound()


def test_who_has_asked_is_not_shut_out_by_hundreds_that_come_before_it_is_read(service: Target):
    """All are accepted in one go when a service that was busy looks again."""
    with ExitStack() as links:
        with frozen(service):
            asking = links.enter_context(connected(service.port))
            send_all(asking, service.request("GET", "/workflows"))
            for _ in range(SLOW):
                links.enter_context(connected(service.port))
        assert parse(read_to_end(asking)).status == 200
    service.check_sound()


def test_hundreds_of_bodies_that_never_end_keep_nobody_out(service: Target):
    head = service.request("POST", "/tokens", Content_Type="application/json", Content_Length=900)
    with service.in_use():
        trickle(service, begin=head, for_s=2)
    service.check_sound()


def test_headers_that_come_too_slowly_are_refused_however_steadily_they_come(service: Target):
    with connected(service.port) as link:
        send_all(link, HEAD)
        link.settimeout(0.1)
        answer = b""
        started = time.monotonic()
        while not answer:
            assert time.monotonic() < started + 30
            send_all(link, b"x")
            try:
                answer = link.recv(65536)
            except TimeoutError:
                continue
        link.settimeout(30)
        answer = parse(answer + read_to_end(link))
    assert (answer.status, answer.problem["code"]) == (408, "request.timed_out")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == answer.problem["request_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_second_request_on_a_connection_has_no_more_time_than_the_first(service: Target):
    first = service.request("GET", "/workflows").replace(b"Connection: close", b"X-Y: z")
    with connected(service.port) as link:
        send_all(link, first)
        assert link.recv(65536).startswith(b"HTTP/1.1 200 ")
        send_all(link, HEAD)
        assert parse(read_to_end(link)).status == 408


def test_a_client_that_has_said_all_and_closes_its_side_is_answered(service: Target):
    body = b'{"name": "half"}'
    for data in (
        service.request("GET", "/workflows"),
        service.request("POST", "/tokens", body),
        service.request("GET", "/workflows").replace(b"Connection: close", b"X-Y: z"),
    ):
        assert exchange(service.port, data, half_close=True).status in (200, 201)


def test_pipelined_requests_are_answered_in_order_even_half_closed(service: Target):
    one = service.request("GET", "/workflows").replace(b"Connection: close", b"X-Y: z")
    other = service.request("GET", "/nowhere").replace(b"Connection: close", b"X-Y: z")
    with connected(service.port) as link:
        send_all(link, (one + other) * 10 + b"no HTTP\r\n\r\n")
        link.shutdown(socket.SHUT_WR)
        rest, statuses = read_to_end(link), []
        while rest:
            answer = parse(rest)
            statuses.append(answer.status)
            rest = answer.rest
    assert statuses == [200, 404] * 10 + [400]


def close_at_once(link: socket.socket) -> None:
    link.close()


def reset(link: socket.socket) -> None:
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def half_close(link: socket.socket) -> None:
    link.shutdown(socket.SHUT_WR)
    assert len(read_to_end(link)) < 65536


@pytest.mark.parametrize("leave", [close_at_once, reset, half_close])
def test_clients_that_leave_in_the_middle_leave_nothing_behind(
    service: Target, leave: Callable[[socket.socket], None]
):
    body = b'{"name": "never"}'
    whole = service.request("POST", "/tokens", body)
    stream = service.request("GET", "/events").replace(b"Connection: close", b"X-Y: z")
    bulk = service.request(
        "POST",
        f"/executions/bulk?workflow_id={service.workflow_id}",
        Content_Type="application/x-ndjson",
        Transfer_Encoding="chunked",
    )
    starts = [whole[:count] for count in (0, 3, 30, len(whole) - 5)]
    with service.in_use():
        for data in [
            *starts,
            stream,
            bulk + b"9\r\n{}\n{}\n{}\n\r\n",
            bulk + b"zz\r\n",
            whole,
        ] * 10:
            with connected(service.port) as link:
                send_all(link, data)
                leave(link)
    service.check_sound()


def test_ten_megabytes_are_refused_by_a_problem_and_not_kept(service: Target):
    body = b'{"name": "' + b"x" * 10_000_000 + b'"}'
    chunked = service.request(
        "POST", "/tokens", Content_Type="application/json", Transfer_Encoding="chunked"
    )
    parts = b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(160)) + b"0\r\n\r\n"
    exchange(service.port, service.request("POST", "/tokens", body))
    memory = service.served.rss_bytes()
    with service.in_use():
        for _ in range(10):
            for data in (service.request("POST", "/tokens", body), chunked + parts):
                answer = exchange(service.port, data)
                assert (answer.status, answer.problem["code"]) == (413, "request.too_large")
    assert service.served.rss_bytes() - memory < 3 * len(body)
    service.check_sound()
