"""When there are too many connections: who asks comes before who is silent."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from api.app import create_app
from api.connections import ConnectionBounds
from api.state import ApiState
from persistence.sessions import Database
from tests.api.conftest import Api, serve
from tests.support.raw_http import connected, exchange, parse, read_to_end, request, send_all

HELD = 5


@pytest.fixture
def api(database: Database) -> Iterator[Api]:
    bounds = ConnectionBounds(max_connections=HELD)
    with serve(create_app(ApiState(database=database)), database, bounds=bounds) as api:
        yield api


def port_of(api: Api) -> int:
    return int(api.url.rpartition(":")[2])


def listen(api: Api, token: str, links: ExitStack) -> socket.socket:
    link = links.enter_context(connected(port_of(api)))
    send_all(link, request("GET", "/api/v1/events", token=token))
    answer = link.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    while b"event: ready" not in answer:
        answer += link.recv(65536)
    return link


def test_the_one_that_was_silent_for_longest_makes_room(api: Api):
    health = request("GET", "/health")
    with ExitStack() as links:
        silent = [links.enter_context(connected(port_of(api))) for _ in range(HELD)]
        # A byte is no sign of life: who sends one now and then has been owing as long.
        for link in silent:
            send_all(link, b"G")
        assert exchange(port_of(api), health).status == 200
        assert read_to_end(silent[0]) == b""
        for link in silent[1:]:
            send_all(link, health[1:])
            assert parse(read_to_end(link)).status == 200


def test_when_all_are_at_work_one_more_is_told_to_come_back(api: Api):
    token = api.token()
    with ExitStack() as links:
        streams = [listen(api, token, links) for _ in range(HELD)]
        answer = exchange(port_of(api), request("GET", "/health"))
        assert (answer.status, answer.problem["code"]) == (503, "request.too_many")
        assert int(answer.headers["retry-after"]) > 0
        streams[0].close()
        while exchange(port_of(api), request("GET", "/health")).status == 503:
            pass
        assert exchange(port_of(api), request("GET", "/health")).status == 200
