"""Ten thousand executions in one request, all or none."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest
from sqlalchemy import text

from api.routes.execution_wishes import MAX_BATCH
from domain.ids import OrgId
from domain.permissions import Role
from persistence.audit import list_audit
from tests.api.conftest import Api
from tests.api.serving import serve_with
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import simple_workflow

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def workflow(database):
    return simple_workflow(database, ACME)


def count(database) -> int:
    with database.org(ACME) as session:
        return session.scalars(text("select count(*) from executions")).one()


def test_ten_thousand_inputs_become_executions_in_their_order(database, admin, workflow):
    wish = {
        "workflow_id": workflow.slug,
        "inputs": [{"text": f"lead {number} 👩‍🚀"} for number in range(MAX_BATCH)],
        "labels": {"campaign": "spring"},
        "priority": 5,
    }
    answer = admin.post("/executions/bulk", params={"execution_ids": True}, json=wish)
    made = answer.json()
    assert answer.status_code == 202
    assert (made["count"], len(made["execution_ids"])) == (MAX_BATCH, MAX_BATCH)
    query = text(
        "select id, input_data ->> 'text' as text, trigger, priority, batch_id, labels, "
        "requested_by from executions order by id"
    )
    with database.org(ACME) as session:
        rows = session.execute(query).all()
        (entry,) = [
            item.entry for item in list_audit(session) if item.entry.action.startswith("execution")
        ]
    assert [row.id for row in rows] == made["execution_ids"]
    assert [row.text for row in rows] == [given["text"] for given in wish["inputs"]]
    assert {tuple(row)[2:5] for row in rows} == {("batch", 5, made["batch_id"])}
    assert rows[0].labels == {"campaign": "spring"}
    assert rows[0].requested_by == ADMIN
    assert (entry.action, entry.resource_id) == ("execution.batch_created", made["batch_id"])
    assert entry.details["count"] == MAX_BATCH


def test_ndjson_has_one_input_a_line(admin, workflow):
    body = '"find leads"\r\n\n{"text": "更多"}\n"third"'
    params = {
        "workflow_id": workflow.id,
        "batch_id": "monday",
        "label": ["campaign:spring"],
        "priority": 2,
        "execution_ids": True,
    }
    answer = admin.post("/executions/bulk", params=params, content=body.encode(), headers=NDJSON)
    made = answer.json()
    assert (answer.status_code, made["batch_id"], made["count"]) == (202, "monday", 3)
    found = [admin.get(f"/executions/{id}").json() for id in made["execution_ids"]]
    assert [item["input_data"]["text"] for item in found] == ["find leads", "更多", "third"]
    assert {(item["priority"], item["labels"]["campaign"]) for item in found} == {(2, "spring")}


def test_one_bad_input_refuses_all_and_every_problem_is_listed(database, admin, workflow):
    inputs = ["good"] * 20 + [7, {"a": "x\x00"}, ""]
    answer = admin.post("/executions/bulk", json={"workflow_id": workflow.id, "inputs": inputs})
    assert answer.status_code == 422
    pointers = [problem["pointer"] for problem in answer.json()["problems"]]
    assert pointers == ["/inputs/20", "/inputs/21/a", "/inputs/22"]
    lines = b'"good"\n{"a":\n7\n\xff\n' + b'{"a":' * 40_000 + b"\n"
    answer = admin.post(
        "/executions/bulk", params={"workflow_id": workflow.id}, content=lines, headers=NDJSON
    )
    pointers = [problem["pointer"] for problem in answer.json()["problems"]]
    assert pointers == ["/inputs/1", "/inputs/2", "/inputs/3", "/inputs/4"]
    assert count(database) == 0


def test_no_more_than_a_thousand_problems_are_listed(admin, workflow):
    answer = admin.post(
        "/executions/bulk", json={"workflow_id": workflow.id, "inputs": [7] * 2_000}
    )
    assert len(answer.json()["problems"]) == 1_000


def test_a_wrong_batch_is_refused_with_the_place(database, admin, workflow):
    good = {"workflow_id": workflow.id, "inputs": ["x"]}
    wrong = [
        ({**good, "inputs": []}, 422, "/inputs"),
        ({**good, "inputs": ["x"] * (MAX_BATCH + 1)}, 422, "/inputs"),
        ({**good, "inputs": "x"}, 422, "/inputs"),
        ({**good, "priority": 9}, 422, "/priority"),
        ({**good, "labels": {"": "x"}}, 422, "/labels//[key]"),
        ({**good, "deadline": "2020-01-01T00:00:00Z"}, 422, "/deadline"),
        ({**good, "colour": "red"}, 422, "/colour"),
        ({"inputs": ["x"]}, 422, "/workflow_id"),
        ([], 422, ""),
        ({**good, "workflow_id": "nothing"}, 404, None),
        ({**good, "version": 9}, 404, None),
    ]
    for wish, status, pointer in wrong:
        answer = admin.post("/executions/bulk", json=wish)
        assert answer.status_code == status, wish
        pointers = {problem["pointer"] for problem in answer.json()["problems"]}
        assert pointer is None or pointer in pointers, (pointer, pointers)
    for body in (b"", b"{", b"\xff", b"[" * 1_000_000):
        answer = admin.post(
            "/executions/bulk", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in {400, 413, 422}
    lines = b'"x"\n' * (MAX_BATCH + 1)
    answer = admin.post(
        "/executions/bulk", params={"workflow_id": workflow.id}, content=lines, headers=NDJSON
    )
    assert answer.json()["problems"][0]["pointer"] == "/inputs"
    missing = admin.post("/executions/bulk", content=b'"x"', headers=NDJSON)
    assert missing.json()["problems"][0]["pointer"] == "/query/workflow_id"
    csv = admin.post("/executions/bulk", content=b"x", headers={"Content-Type": "text/csv"})
    assert (csv.status_code, csv.json()["code"]) == (415, "media_type.unsupported")
    assert count(database) == 0


def test_a_body_above_the_limit_is_refused_unread(database):
    def endless():
        for _ in range(20):
            yield b"\n" * 1024**2

    with serve_with(database, max_bulk_body_bytes=2 * 1024**2) as api, api.client() as admin:
        answer = admin.post(
            "/executions/bulk", params={"workflow_id": "x"}, content=endless(), headers=NDJSON
        )
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")


def test_one_json_document_is_bounded_more_tightly_than_lines(admin, workflow):
    wish = json.dumps({"workflow_id": workflow.id, "inputs": ["x" * 250_000] * 18})
    answer = admin.post(
        "/executions/bulk", content=wish, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")
    lines = b'"%s"\n' % (b"x" * 250_000) * 18
    answer = admin.post(
        "/executions/bulk", params={"workflow_id": workflow.id}, content=lines, headers=NDJSON
    )
    assert (answer.status_code, answer.json()["count"]) == (202, 18)


@pytest.mark.parametrize("line", [b'"' + b"x" * 3_000_000, b"[" + b"1," * 100_001 + b"1]"])
def test_a_line_that_is_too_long_or_too_rich_is_refused_before_it_is_parsed(admin, workflow, line):
    query = {"workflow_id": workflow.id}
    content = b'"good"\n' + line
    answer = admin.post("/executions/bulk", params=query, content=content, headers=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")
    assert "Line 2" in answer.json()["detail"]


def test_two_bulk_bodies_are_read_at_a_time_and_the_rest_waits_unread(database, workflow):
    globex = simple_workflow(database, GLOBEX)
    with serve_with(database, bulk_body_timeout_s=20.0) as api, ExitStack() as opened:
        slow = [opened.enter_context(begun(api, org_id=org_id)) for org_id in (ACME, GLOBEX)]
        late = opened.enter_context(begun(api, org_id=ACME))
        late.sendall(b'1\r\n\n\r\n7\r\n"late"\n\r\n0\r\n\r\n')
        assert httpx.get(f"{api.url}/health").status_code == 200
        late.settimeout(0.5)
        with pytest.raises(TimeoutError):
            late.recv(1)
        for link in slow:
            link.sendall(b'4\r\n"x"\n\r\n0\r\n\r\n')
            assert link.recv(65536).startswith(b"HTTP/1.1 202 ")
        late.settimeout(20)
        assert late.recv(65536).startswith(b"HTTP/1.1 202 ")
    assert count(database) == 2
    with database.org(GLOBEX) as session:
        assert session.scalar(text("select workflow_id from executions")) == globex.id


@contextmanager
def begun(api: Api, *, org_id: OrgId) -> Iterator[socket.socket]:
    """Send a bulk request's head."""
    token = api.token(org_id=org_id)
    host, port = api.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=20)) as link:
        lines = [
            "POST /api/v1/executions/bulk?workflow_id=simple HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {token}",
            "Content-Type: application/x-ndjson",
            "Transfer-Encoding: chunked",
        ]
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        yield link


def test_several_megabytes_are_read(database, admin, workflow):
    inputs = [{"text": "x" * 200_000} for _ in range(20)]
    wish = json.dumps({"workflow_id": workflow.id, "inputs": inputs})
    answer = admin.post(
        "/executions/bulk", content=wish, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 202
    assert count(database) == 20


def test_a_batch_needs_the_permission_and_ones_own_workflow(api: Api, database, workflow):
    wish = {"workflow_id": workflow.id, "inputs": ["x"]}
    with api.client(Role.VIEWER) as viewer, api.client(org_id=GLOBEX) as other:
        assert viewer.post("/executions/bulk", json=wish).status_code == 403
        assert other.post("/executions/bulk", json=wish).status_code == 404
    assert count(database) == 0


def test_a_whole_number_may_be_written_as_json_allows_it(admin, workflow):
    wish = {"workflow_id": workflow.id, "priority": 4.0, "version": 1.0}
    single = admin.post("/executions", json={**wish, "input": "find leads"})
    assert (single.status_code, single.json()["priority"]) == (202, 4)
    batch = admin.post("/executions/bulk", json={**wish, "inputs": ["find leads"]})
    assert batch.status_code == 202


@pytest.mark.parametrize("label", ["campaign", ":spring", f"a:{'x' * 201}", "a:\x00", "é:x"])
def test_a_label_that_is_no_pair_is_refused_as_the_document_says(admin, workflow, label):
    query = {"workflow_id": workflow.id, "label": label}
    answer = admin.post("/executions/bulk", params=query, content='"x"\n', headers=NDJSON)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["pointer"] == "/query/label/0"
