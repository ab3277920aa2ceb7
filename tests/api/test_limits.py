"""What is too much, too deep, too slow or too often is refused, and others notice nothing."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest
from prometheus_client import Gauge
from sqlalchemy import text

from api.platform_metrics import create_metrics_app
from api.state import ApiState, Rate
from domain.permissions import Role
from persistence.sessions import Database
from tests.api.conftest import Api
from tests.api.serving import serve, serve_with
from tests.api.test_events import Stream, listening, run_one, wait_until
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import queue, simple_workflow

ONE_MIB = 1024 * 1024


def send(api: Api, body: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    with api.client() as client:
        sent = {"Content-Type": "application/json", **headers}
        return client.post("/tokens", content=body, headers=sent)


@contextmanager
def connected(api: Api, *, window: int | None = None) -> Iterator[socket.socket]:
    host, port = api.url.removeprefix("http://").split(":")
    with closing(socket.socket()) as link:
        link.settimeout(20)
        if window is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        link.connect((host, int(port)))
        yield link


def request_head(api: Api, *, path: str, method: str, length: int | None = None) -> bytes:
    lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: x", f"Authorization: Bearer {api.token()}"]
    if length is not None:
        lines += [f"Content-Length: {length}", "Content-Type: application/json"]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("size", [ONE_MIB + 1, 10 * ONE_MIB])
def test_a_body_that_is_too_large_is_refused_by_its_announced_length(api: Api, size: int):
    answer = send(api, b'"' + b"x" * (size - 2) + b'"')
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_without_a_length_is_counted_as_it_comes(api: Api):
    answer = send(api, (b"x" * 65536 for _ in range(40)))
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")


def test_a_body_just_small_enough_is_read(api: Api):
    filler = b" " * (ONE_MIB - len(b'{"name": "n"}'))
    assert send(api, b'{"name": "n"}' + filler).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"name": ' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"name": "n", "scopes": ' + b"[" * 40 + b"]" * 40 + b', "x": "' + b"y" * 70_000 + b'"}',
    ],
)
def test_deep_json_is_refused_and_harms_nobody(api: Api, body: bytes):
    answer = send(api, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert "nested deeper than 32" in answer.json()["detail"]


def test_brackets_in_texts_are_not_depth(api: Api):
    name = "[{" * 40 + '\\" ' + "[" * 10
    assert send(api, f'{{"name": "{name}"}}'.encode()).status_code == 201


@pytest.mark.parametrize("body", [b'{"name": "\xff\xfe"}', b"\x80", b'{"name": "\\ud800"}'])
def test_bytes_that_are_no_text_are_a_problem_and_no_failure(api: Api, body: bytes):
    answer = send(api, body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_that_asks_too_often_waits_and_others_do_not(database: Database):
    slow = Rate(per_s=0.5, burst=3)
    with (
        serve_with(database, token_rate=slow) as api,
        api.client() as hasty,
        api.client(Role.VIEWER) as calm,
    ):
        answers = [hasty.get("/tokens") for _ in range(6)]
        assert calm.get("/tokens").status_code == 200
    # The first one, of a token that was not known yet, is counted by its address.
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429, 429]
    first, last = answers[1], answers[-1]
    assert first.headers["ratelimit-policy"] == '"token";q=3;w=6, "org";q=4000;w=4'
    assert first.headers["ratelimit"] == '"token";r=2;t=2'
    assert last.headers["ratelimit"].startswith('"token";r=0;')
    assert 1 <= int(last.headers["retry-after"]) <= 2
    assert last.json()["code"] == "request.too_many"


def test_an_organization_that_asks_too_often_waits_and_others_do_not(database: Database):
    slow = Rate(per_s=0.01, burst=4)
    with serve_with(database, org_rate=slow) as api:
        clients = [api.client(), api.client(Role.VIEWER)]
        answers = [client.get("/tokens").status_code for client in clients * 4]
        with api.client(org_id=GLOBEX) as other:
            assert other.get("/tokens").status_code == 200
            assert other.get("/tokens").status_code == 200
        for client in clients:
            client.close()
    assert answers == [200] * 6 + [429] * 2


def test_somebody_without_a_token_cannot_guess_for_ever(database: Database):
    with serve_with(database, stranger_rate=Rate(per_s=0.01, burst=5)) as api:
        answers = [
            httpx.get(f"{api.url}/api/v1/tokens", headers={"Authorization": f"Bearer tnt_{n}"})
            for n in range(7)
        ]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2


def test_a_body_that_comes_too_slowly_is_given_up_and_others_are_answered(database: Database):
    with serve_with(database, body_timeout_s=1.0) as api, connected(api) as slow:
        slow.sendall(request_head(api, path="/tokens", method="POST", length=100) + b'{"na')
        assert send(api, b'{"name": "quick"}').status_code == 201
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request.timed_out" in answer
        assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("token", [None, "tnt_unknown"])
@pytest.mark.parametrize("path", ["/executions", "/executions/bulk?workflow_id=x", "/nowhere"])
def test_the_body_of_somebody_unknown_is_not_waited_for(api: Api, path: str, token: str | None):
    with connected(api) as link:
        lines = [f"POST /api/v1{path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
        lines += [f"Authorization: Bearer {token}"] if token else []
        # The rest never comes: who waited for it would wait for 30 s.
        link.sendall("\r\n".join([*lines, "Content-Length: 900000", "", '{"x'])[:-2].encode())
        link.settimeout(10)
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 " if path == "/nowhere" else b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


def test_clients_that_break_off_harm_nobody(api: Api, caplog):
    for part in (b"", b"GET", request_head(api, path="/tokens", method="POST", length=50) + b"{"):
        with connected(api) as link:
            link.sendall(part)
    half = request_head(api, path="/tokens", method="GET")
    with connected(api) as link:
        link.sendall(half)
        link.shutdown(socket.SHUT_WR)
        # The server takes half a connection for none, and closes it: answered or not, it ends.
        while link.recv(65536):
            pass
    assert send(api, b'{"name": "n"}').status_code == 201
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_no_other_site_may_read_answers(admin: httpx.Client):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        admin.get("/tokens", headers=headers),
        admin.options("/tokens", headers=headers),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


FLOOD = 20_000
# Enough that no socket's buffer holds it. The trigger is the real one; only the way in is short.
FLOOD_ROWS = text("""
insert into executions (id, org_id, workflow_id, workflow_version, trigger, input_data)
select 'exec_flood_' || n, :org, :workflow, 1, 'api', '{}' from generate_series(1, :count) n
""")


def flood(database: Database, workflow_id: str) -> None:
    with database.org(ACME) as session:
        session.execute(FLOOD_ROWS, {"org": ACME, "workflow": workflow_id, "count": FLOOD})


def count(gauge: Gauge) -> float:
    return next(iter(gauge.collect())).samples[0].value


def refusals(api: Api) -> list[dict]:
    with api.client() as admin:
        found = admin.get("/audit", params={"action": "access.refused", "order": "oldest"})
        return found.json()["items"]


def test_refused_attempts_are_audited(api: Api, admin: httpx.Client):
    with api.client(Role.VIEWER) as viewer:
        assert viewer.get("/audit", headers={"User-Agent": "probe/2"}).status_code == 403
    assert admin.delete("/tokens/tok_unknown").status_code == 404
    assert admin.post("/tokens", json={"nme": "x"}).status_code == 422
    assert admin.get("/audit", params={"limit": 0}).status_code == 422
    wait_until(lambda: len(refusals(api)) >= 3)
    found = refusals(api)
    shown = [
        (entry["user_id"], *(entry["details"][name] for name in ("method", "route", "code")))
        for entry in found
    ]
    # Each is written beside its answer: which comes first is not promised.
    assert sorted(shown) == [
        ("user_admin", "DELETE", "/api/v1/tokens/{token_id}", "token.not_found"),
        ("user_admin", "POST", "/api/v1/tokens", "request.invalid"),
        ("user_viewer", "GET", "/api/v1/audit", "permission.missing"),
    ]
    assert {entry["success"] for entry in found} == {False}
    probe = next(entry for entry in found if entry["user_id"] == "user_viewer")
    assert (probe["user_agent"], probe["ip_address"]) == ("probe/2", "127.0.0.1")


def test_a_flood_of_refusals_does_not_fill_the_trail(database: Database):
    with serve_with(database, max_refusals_audited=5) as api:
        with api.client(Role.VIEWER) as viewer:
            for _ in range(40):
                assert viewer.get("/audit").status_code == 403
        wait_until(lambda: len(refusals(api)) >= 5)
        assert len(refusals(api)) == 5


def test_a_listener_that_stops_reading_is_dropped_and_nobody_else_notices(database: Database):
    settings = {"event_ping_s": 0.2, "event_send_timeout_s": 2.0}
    state = ApiState(database=database, **settings)  # type: ignore[arg-type]
    clients = state.counters.event_clients
    with serve_with(database, **settings, counters=state.counters) as api:
        workflow = simple_workflow(database, ACME)
        with (
            ThreadPoolExecutor(1) as beside,
            connected(api, window=4096) as stuck,
            listening(api) as reading,
        ):
            heard = beside.submit(reading.take, FLOOD)
            stuck.sendall(request_head(api, path="/events", method="GET"))
            wait_until(lambda: count(clients) == 2)
            flood(database, workflow.id)
            wait_until(lambda: count(clients) == 1)
            ids = [int(event["id"]) for event in heard.result()]
            assert ids == list(range(ids[0], ids[0] + FLOOD))
            run_one(api, workflow)
            assert [event["data"]["status"] for event in reading.take(2)][-1] == "COMPLETED"


def test_a_stream_ends_with_its_token(database: Database):
    with serve_with(database, event_ping_s=0.2) as api:
        with api.client() as admin:
            token = admin.post("/tokens", json={"name": "short"}).json()
        headers = {"Authorization": f"Bearer {token['secret']}"}
        with httpx.stream("GET", f"{api.url}/api/v1/events", headers=headers, timeout=20) as opened:
            stream = Stream(opened)
            assert stream.next()["event"] == "ready"
            with api.client() as admin:
                admin.delete(f"/tokens/{token['id']}").raise_for_status()
            assert stream.next()["event"] == "closed"


def test_the_platforms_figures_are_served_on_a_port_of_their_own(database: Database):
    state = ApiState(database=database)
    workflow = simple_workflow(database, ACME)
    execution = queue(database, ACME, workflow)
    with serve_with(database, counters=state.counters) as api:
        with api.client() as admin:
            admin.get("/tokens")
            admin.delete("/tokens/tok_x")
            assert admin.get("/../../metrics").status_code == 404
        httpx.get(f"{api.url}/nowhere/{'x' * 20}")
        with serve(create_metrics_app(state), database) as platform:
            shown = httpx.get(f"{platform.url}/metrics").text
    line = 'tenantry_http_requests_total{method="DELETE",route="/api/v1/tokens/{token_id}",'
    assert f'{line}status_class="4xx"}} 1.0' in shown
    assert 'route="unmatched"' in shown
    assert "tenantry_queue_waiting 1.0" in shown
    assert "tenantry_open_runs 0.0" in shown
    assert "tenantry_lost_workers_total 0.0" in shown
    assert "tok_x" not in shown
    # Organizations are named where it is said how each is served, and nowhere else.
    named = [line for line in shown.splitlines() if ACME in line]
    assert all(line.startswith("tenantry_org_") for line in named)
    assert workflow.id not in shown
    assert execution.id not in shown
    assert "xxxx" not in shown
