"""Requests that no client sends by mistake: each is refused by a problem, and none is a failure."""

import gzip
from collections.abc import Iterator

import pytest

from tests.api.attacks import Target, target
from tests.support.databases import Cluster
from tests.support.raw_http import connected, exchange, parse, read_to_end, request, send_all

pytestmark = pytest.mark.processes

MANY = range(80_000)
LONG = 200_000
POSTS = ("/tokens", "/workflows", "/executions")
NOT_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 4,
    "NUL": b"\x00" * 1000,
    "words": b"hello world\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in a header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "length -5": b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "length of 5,000 digits": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "
    + b"9" * 5000
    + b"\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
}
BODIES = {
    "invalid UTF-8": b'{"name": "\xff\xfe\x80"}',
    "NUL": b'{"name": "a\\u0000b", "workflow_id": "a\\u0000b", "input": {"x": "\\u0000"}}',
    "raw NUL": b'{"name": "a\x00b"}',
    "half a surrogate": b'{"name": "\\ud800", "workflow_id": "\\ud800", "input": {"\\udfff": 1}}',
    "100,000 lists": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "1e400": b'{"name": 1e400, "workflow_id": 1e400, "priority": 1e400, "input": {"a": 1e400}}',
    "5,000 digits": b'{"name": %b, "priority": %b, "input": {"a": %b}}' % ((b"9" * 5000,) * 3),
    "500,000 digits": b'{"name": ' + b"9" * 500_000 + b"}",
    "no number": b'{"name": NaN, "workflow_id": "x", "input": {"a": Infinity}}',
    "the same key twice": b'{"name": 1, "name": 2, "workflow_id": "x", "workflow_id": "y"}',
    "80,000 keys": b"{" + b",".join(b'"k%d":1' % n for n in MANY) + b"}",
    "80,000 labels": b'{"workflow_id":"x","labels":{'
    + b",".join(b'"k%d":1' % n for n in MANY)
    + b"}}",
    "80,000 items": b'{"name":"x","agents":[' + b",".join(b"{}" for _ in MANY) + b"]}",
    "nothing": b"",
    "null": b"null",
}
YAML = {
    "aliases": b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "depth": b"- " * 100_000,
    "invalid UTF-8": b"name: \xff\xfe",
    "a tag": b"name: !!python/object/apply:os.system [x]",
    "5,000 digits": b"name: " + b"9" * 5000,
    "base 60": b"name: " + b"1:" * 5000 + b"1",
}
LINES = {
    "invalid UTF-8": b'{"a":"\xff"}\n',
    "NUL": b'{"a":"\\u0000"}\n',
    "depth": b"[" * 100_000 + b"\n",
    "5,000 digits": b'{"a":' + b"9" * 5000 + b"}\n",
    "no number": b'{"a":NaN}\n',
    "half a surrogate": b'{"a":"\\ud800"}\n',
    "500,000 bad lines": b"x\n" * 500_000,
    "nothing but ends": b"\n" * 1_000_000,
}
QUERIES = {
    "NUL": "workflow_id=a%00b&error_code=%00&label=a%00:b%00&cursor=%00",
    "invalid UTF-8": "workflow_id=%ff%fe&limit=%ff",
    "5,000 digits": "limit=" + "9" * 5000,
    "1e400": "limit=1e400",
    "9,000 parameters": "&".join(f"a{n}" for n in range(9000)),
    "6,000 times one": "status=x&" * 6000,
    "a late day": "created_after=" + "9" * 400,
}


@pytest.fixture(scope="module")
def service(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    with target(cluster, template, tmp_path_factory.mktemp("service")) as served:
        yield served
        served.check_sound()


def check_refused(service: Target, data: bytes, *, statuses: tuple[int, ...] = (400, 422)) -> None:
    answer = exchange(service.port, data)
    assert answer.status in statuses
    assert answer.problem["status"] == answer.status
    assert answer.problem["request_id"]
    # A small request gets no large answer.
    assert len(answer.body) < 4096 + len(data)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_no_http_is_refused_by_a_problem(service: Target, name: str):
    # To the parser the preface of HTTP/2 is a request for something that there is not.
    check_refused(service, NOT_HTTP[name], statuses=(400, 404))


def test_long_headers_and_lines_are_refused_by_a_problem(service: Target):
    for data in (
        service.request("GET", "/workflows", X_Big="a" * LONG),
        service.request("GET", "/workflows", X_Big="a" * 5_000_000),
        service.request("GET", f"/workflows?q={'a' * LONG}"),
        service.request("GET", "/workflows", **{f"X_{n}": "a" for n in range(20_000)}),
    ):
        check_refused(service, data, statuses=(431,))


@pytest.mark.parametrize("path", POSTS)
def test_no_body_is_a_failure(service: Target, path: str):
    with service.in_use():
        for body in BODIES.values():
            check_refused(service, service.request("POST", path, body), statuses=(400, 415, 422))
            for content_type in ("text/plain", "\xff/\xfe; charset=\xff", "multipart/form-data"):
                strange = service.request("POST", path, body, Content_Type=content_type)
                check_refused(service, strange, statuses=(400, 415, 422))
        packed = gzip.compress(b'{"name": "x", "workflow_id": "x", "input": "x"}')
        data = service.request("POST", path, packed, Content_Encoding="gzip")
        check_refused(service, data)


def test_no_definition_and_no_line_is_a_failure(service: Target):
    bulk = f"/executions/bulk?workflow_id={service.workflow_id}"
    with service.in_use():
        for body in YAML.values():
            kind = "application/yaml"
            check_refused(service, service.request("POST", "/workflows", body, Content_Type=kind))
        for body in LINES.values():
            kind = "application/x-ndjson"
            data = service.request("POST", bulk, body, Content_Type=kind)
            check_refused(service, data, statuses=(400, 413, 422))


def test_no_query_is_a_failure(service: Target):
    with service.in_use():
        for query in QUERIES.values():
            check_refused(service, service.request("GET", f"/executions?{query}"))


def test_no_path_and_no_header_is_a_failure(service: Target):
    for path in ("/workflows/%ff%fe", "/workflows/a%00b", "/executions/exec_%00", "/%00"):
        for method, body in (("GET", None), ("DELETE", None), ("PATCH", b'{"name": "x"}')):
            answer = exchange(service.port, service.request(method, path, body))
            assert 400 <= answer.problem["status"] < 500
    for name in ("Last_Event_ID", "If_Match", "Accept", "User_Agent", "X_Forwarded_For", "Cookie"):
        for value in ("\xff\xfe\x80", "9" * 5000, "a/b;q=0.1," * 1000):
            answer = exchange(
                service.port, service.request("GET", "/executions/exec_none", **{name: value})
            )
            assert answer.problem["status"] in (404, 406, 412, 422)
    stranger = request("GET", "/api/v1/workflows", Authorization="Bearer \xff\xfe\x80")
    check_refused(service, stranger, statuses=(401,))


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n0\r\n\r\n",
        b"f" * 400 + b"\r\n{}\r\n0\r\n\r\n",
        b'5\r\n{"name":"n"}\r\n0\r\n\r\n',
        b"2;" + b"a" * LONG + b"\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nX: " + b"a" * LONG + b"\r\n\r\n",
    ],
    ids=["no size", "below zero", "huge", "wrong size", "long extension", "long trailer"],
)
def test_chunks_that_are_none_are_refused_by_a_problem(service: Target, body: bytes):
    head = service.request(
        "POST", "/tokens", Content_Type="application/json", Transfer_Encoding="chunked"
    )
    check_refused(service, head + body, statuses=(400, 422, 431))


def test_a_body_that_goes_on_after_its_refusal_breaks_nothing(service: Target):
    head = request(
        "POST",
        "/api/v1/executions/bulk?workflow_id=x",
        Content_Type="application/x-ndjson",
        Transfer_Encoding="chunked",
    ).replace(b"Connection: close\r\n", b"")
    with connected(service.port) as link:
        send_all(link, head)
        answered = link.recv(65536)
        send_all(link, b"zz\r\nno chunk\r\n")
        answered += read_to_end(link)
    refused = parse(answered)
    assert refused.status == 401
    assert not refused.rest or parse(refused.rest).status == 400
