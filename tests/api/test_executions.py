"""Executions over real HTTP: queued once, read by their organization only, called off."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text, update

from deployments.catalogue import write_catalogue
from deployments.settings import load_settings
from domain.clock import utc_now
from domain.errors import ErrorCode, Problem
from domain.executions import ExecutionStatus
from domain.permissions import Role
from domain.runs import RunState, StateType
from persistence.audit import verify_audit
from persistence.execution_moves import (
    FinishedExecution,
    finish_executions,
    start_executions,
)
from persistence.queue import claim_run
from persistence.tables import WorkflowRow
from persistence.workflows import add_version, add_workflow
from tests.api.conftest import Api
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import chain, simple_workflow

PROBE = {"type": "probe", "config": {}}


@pytest.fixture
def workflow(database):
    return simple_workflow(database, ACME)


def post(client: httpx.Client, workflow, given="find leads", **fields) -> httpx.Response:
    return client.post("/executions", json={"workflow_id": workflow.id, "input": given, **fields})


def queue(client: httpx.Client, workflow, given="find leads", **fields) -> str:
    return post(client, workflow, given, **fields).raise_for_status().json()["id"]


def state(kind=StateType.RUNNING) -> RunState:
    return RunState(uuid4(), kind, kind.value.title(), utc_now())


def actions(database, execution_id) -> list[str]:
    query = text(
        "select action from audit_logs where :id in (resource_id, execution_id) order by seq"
    )
    with database.org(ACME) as session:
        return list(session.scalars(query, {"id": execution_id}))


def start(database):
    """Claim what waits, and start it."""
    with database.for_platform() as session:
        run = claim_run(session, worker="w", lease_s=60, size=100).run
    now = state()
    with database.org(ACME) as session:
        start_executions(session, run.id, state=now, at=now.at)
    return run


def finish(database, execution_id, **fields) -> None:
    values = {"status": ExecutionStatus.COMPLETED, "agent_results": {}, "execution_graph": {}}
    ended = FinishedExecution(id=execution_id, **(values | fields))
    with database.org(ACME) as session:
        finish_executions(
            session, [ended], at=utc_now(), started_at=None, state=state(StateType.COMPLETED)
        )


def test_an_execution_is_queued_and_can_be_read(admin, workflow):
    wish = {
        "workflow_id": workflow.slug,
        "input": {"text": "find leads", "n": 3},
        "priority": 1,
        "labels": {"campaign": "spring"},
        "deadline": (utc_now() + timedelta(hours=1)).isoformat(),
    }
    answer = admin.post("/executions/", json=wish)
    made = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/executions/{made['id']}"
    assert (made["status"], made["trigger"], made["requested_by"]) == ("PENDING", "api", ADMIN)
    assert made["input_data"] == wish["input"]
    assert admin.get(f"/executions/{made['id']}").json() == made


def test_a_workflow_is_found_by_id_slug_and_name(admin, workflow):
    for reference in (workflow.id, workflow.slug, workflow.name.upper()):
        answer = admin.post("/executions", json={"workflow_id": reference, "input": "x"})
        assert answer.json()["workflow_id"] == workflow.id


def test_an_unknown_workflow_or_version_is_not_found(admin, workflow):
    for fields in ({"workflow_id": "nothing"}, {"version": 7}):
        assert post(admin, workflow, **fields).status_code == 404


def test_an_old_version_runs_when_it_is_asked_for(database, admin, workflow):
    with database.org(ACME, user_id=ADMIN) as session:
        definition = chain("Simple", PROBE, PROBE).as_json()
        add_version(session, workflow.id, definition, description="")
    assert post(admin, workflow).json()["workflow_version"] == 2
    assert post(admin, workflow, version=1).json()["workflow_version"] == 1


def test_an_archived_workflow_is_not_executed(database, admin, workflow):
    first = queue(admin, workflow, idempotency_key="k")
    with database.org(ACME) as session:
        session.execute(update(WorkflowRow).values(archived_at=utc_now()))
    answer = post(admin, workflow)
    assert (answer.status_code, answer.json()["code"]) == (409, "workflow.not_runnable")
    assert queue(admin, workflow, idempotency_key="k") == first


def test_a_draft_is_not_executed(database, admin):
    problem = Problem(ErrorCode.AGENT_TYPE_UNKNOWN, "/agents/0", "No.", "Mend it.")
    with database.org(ACME, user_id=ADMIN) as session:
        draft = add_workflow(
            session,
            chain("Draft", PROBE).as_json(),
            name="Draft",
            slug="draft",
            description="",
            problems=[problem],
        )
    answer = post(admin, draft)
    assert (answer.status_code, answer.json()["code"]) == (409, "workflow.not_runnable")


def test_a_text_that_an_agent_of_the_workflow_does_not_read_is_refused_before_it_is_queued(
    database, database_url, admin, workflow
):
    url = database_url.render_as_string(hide_password=False)
    write_catalogue(load_settings({"TENANTRY_DATABASE_URL": url}))
    agents = [{"name": "Reader", "type": "lead_request", "config": {}}]
    with database.org(ACME, user_id=ADMIN) as session:
        reader = add_workflow(
            session,
            {**chain("Leads", PROBE).as_json(), "agents": agents},
            name="Leads",
            slug="leads",
            description="",
        )
    for given, pointer in (("US " * 667, "/input"), ({"text": "US " * 667}, "/input/text")):
        answer = post(admin, reader, given)
        assert (answer.status_code, answer.json()["code"]) == (422, "execution.input_invalid")
        (problem,) = answer.json()["problems"]
        assert problem["pointer"] == pointer
        assert "2,000 characters that the agent `Reader`" in problem["message"]
    assert post(admin, reader, "US " * 666).status_code == 202
    assert post(admin, workflow, "US " * 10_000).status_code == 202


WRONG = [
    ({"input": ""}, "/input"),
    ({"input": 7}, "/input"),
    ({"input": {"a": {"b": "x\x00"}}}, "/input/a/b"),
    ({"input": {"a\x00": 1}}, "/input"),
    ({"input": {"n": 2**63}}, "/input/n"),
    ({"input": "x" * 1_000_000}, "/input"),
    ({"priority": 0}, "/priority"),
    ({"priority": "1"}, "/priority"),
    ({"priority": True}, "/priority"),
    ({"priority": 2.5}, "/priority"),
    ({"version": 1e300}, "/version"),
    ({"workflow_id": "a\x00"}, "/workflow_id"),
    ({"idempotency_key": ""}, "/idempotency_key"),
    ({"idempotency_key": "x" * 201}, "/idempotency_key"),
    ({"labels": {"ok": "x\x00"}}, "/labels/ok"),
    ({"labels": {f"k{n}": "v" for n in range(21)}}, "/labels"),
    ({"labels": {"k": "v" * 201}}, "/labels/k"),
    ({"deadline": "tomorrow"}, "/deadline"),
    ({"deadline": "2020-01-01T00:00:00Z"}, "/deadline"),
    ({"deadline": "9999-12-31T23:59:59-23:59"}, "/deadline"),
    ({"deadline": 5}, "/deadline"),
    ({"colour": "red"}, "/colour"),
]


def test_a_wrong_request_is_refused_with_the_place(admin, workflow):
    for fields, pointer in WRONG:
        answer = post(admin, workflow, **fields)
        assert answer.status_code == 422, fields
        assert pointer in {problem["pointer"] for problem in answer.json()["problems"]}, fields


def test_deep_json_is_refused_and_the_server_lives(admin, workflow):
    for depth in (40, 100_000):
        deep = '{"a":' * depth + "1" + "}" * depth
        body = f'{{"workflow_id": "{workflow.id}", "input": {deep}}}'
        answer = admin.post(
            "/executions", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in {400, 413, 422}
        assert answer.headers["content-type"] == "application/problem+json"
    assert post(admin, workflow).status_code == 202


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_body_that_is_not_sent_as_json_is_refused_with_the_header_to_send(
    admin, workflow, media_type
):
    wish = json.dumps({"workflow_id": workflow.id, "input": "x"})
    headers = {"Content-Type": media_type} if media_type else {}
    answer = admin.post("/executions", content=wish, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type.unsupported")
    assert "application/json" in answer.json()["hint"]
    patch = {"Content-Type": "application/merge-patch+json; charset=utf-8"}
    assert admin.post("/executions", content=wish, headers=patch).status_code == 202
    assert admin.post("/executions").json()["code"] == "request.invalid"


def test_any_text_comes_back_as_it_went_in(admin, workflow):
    given = {
        "text": "👩‍🚀 Köln \u202e 日本 \t\r\n \\ \" ' $1 %(a)s :x",
        "": [1.5, None, {"é": True}],
    }
    id = queue(admin, workflow, given, labels={"who": "👩‍🚀:x"})
    found = admin.get(f"/executions/{id}").json()
    assert found["input_data"] == given
    assert found["labels"] == {"who": "👩‍🚀:x"}


def test_a_repeated_key_answers_the_first_execution(admin, workflow):
    first = queue(admin, workflow, idempotency_key="order 1")
    in_header = admin.post(
        "/executions",
        json={"workflow_id": workflow.name, "input": "find leads"},
        headers={"Idempotency-Key": "order 1"},
    )
    assert (in_header.status_code, in_header.json()["id"]) == (202, first)
    assert len(admin.get("/executions").json()["items"]) == 1


def test_a_key_for_something_else_is_a_conflict(admin, workflow):
    queue(admin, workflow, idempotency_key="k")
    answer = post(admin, workflow, "another", idempotency_key="k")
    assert (answer.status_code, answer.json()["code"]) == (409, "execution.idempotency_conflict")


def test_two_different_keys_in_one_request_are_refused(admin, workflow):
    wish = {"workflow_id": workflow.id, "input": "x", "idempotency_key": "a"}
    answer = admin.post("/executions", json=wish, headers={"Idempotency-Key": "b"})
    assert answer.status_code == 422
    same = admin.post("/executions", json=wish, headers={"Idempotency-Key": "a"})
    assert same.status_code == 202


def test_many_clients_with_repeated_keys_make_no_duplicate(api: Api, database, workflow):
    """8 threads, 50 posts each; every key is used by all of them, and some have none."""
    api.token()
    barrier = threading.Barrier(8)

    def work(number: int) -> list[tuple[str | None, str]]:
        found: list[tuple[str | None, str]] = []
        with api.client() as client:
            barrier.wait()
            for post_number in range(50):
                key = None if post_number % 10 == number else f"key {post_number}"
                given = f"input {post_number}"
                found.append((key, queue(client, workflow, given, idempotency_key=key)))
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for part in pool.map(work, range(8)) for answer in part]
    with database.org(ACME, snapshot=True) as session:
        rows = session.execute(text("select id, idempotency_key from executions")).all()
        created = session.scalars(
            text("select resource_id from audit_logs where action = 'execution.created'")
        ).all()
        assert verify_audit(session).ok
    assert {id for _, id in answers} == {row.id for row in rows}
    keyed = {row.idempotency_key: row.id for row in rows if row.idempotency_key}
    assert {key: id for key, id in answers if key} == keyed
    unkeyed = [id for key, id in answers if key is None]
    assert len(set(unkeyed)) == len(unkeyed) == len(rows) - len(keyed)
    assert sorted(created) == sorted(row.id for row in rows)


def test_a_refused_request_does_not_touch_those_written_with_it(api: Api, admin, workflow):
    queue(admin, workflow, "first", idempotency_key="taken")
    barrier = threading.Barrier(8)

    def work(number: int) -> list[int]:
        with api.client() as client:
            barrier.wait()
            key = "taken" if number % 2 else None
            return [post(client, workflow, "x", idempotency_key=key).status_code for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(work, range(8)))
    assert codes == [[409] * 10 if number % 2 else [202] * 10 for number in range(8)]


def test_a_viewer_reads_and_does_not_execute(api: Api, admin, workflow):
    id = queue(admin, workflow)
    with api.client(Role.VIEWER) as viewer:
        assert viewer.get(f"/executions/{id}").status_code == 200
        assert post(viewer, workflow).status_code == 403
        assert viewer.post(f"/executions/{id}/cancel").status_code == 403


def test_another_organizations_execution_does_not_exist(api: Api, admin, workflow):
    id = queue(admin, workflow, "a secret")
    with api.client(org_id=GLOBEX) as other:
        for path in ("", "/agents", "/timeline", "/output", "/cancel"):
            ask = other.post if path == "/cancel" else other.get
            answer = ask(f"/executions/{id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "execution.not_found")
        assert post(other, workflow).status_code == 404
        assert other.get("/executions", params={"workflow_id": workflow.id}).status_code == 404
        assert other.get("/executions").json()["items"] == []
    assert admin.get(f"/executions/{id}").json()["status"] == "PENDING"
