"""Lists of executions over real HTTP: every filter, every status, stable pages."""

import base64
import json
from datetime import datetime, timedelta

import httpx
import pytest

from api.routes.execution_wishes import MAX_BATCH
from domain.errors import ErrorCode
from domain.executions import ExecutionError, ExecutionStatus
from persistence.execution_moves import (
    FinishedExecution,
    finish_executions,
    pause_executions,
    start_executions,
)
from persistence.queue import claim_run
from tests.api.conftest import Api
from tests.api.test_executions import queue, state
from tests.support.databases import ACME
from tests.support.factories import simple_workflow


@pytest.fixture
def workflow(database):
    return simple_workflow(database, ACME)


def ids(client: httpx.Client, **params) -> list[str]:
    answer = client.get("/executions", params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def one_of_each_status(database, client: httpx.Client, workflow) -> dict[str, str]:
    """Make an execution of every status, by the moves that make them."""
    found: dict[str, str] = {}
    for status in ("RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"):
        found[status] = queue(client, workflow, status)
        with database.for_platform() as session:
            run = claim_run(session, worker="w", lease_s=60).run
        now = state()
        with database.org(ACME) as session:
            start_executions(session, run.id, state=now, at=now.at)
            if status == "PAUSED":
                pause_executions(session, run.id, state=state())
            elif status != "RUNNING":
                error = ExecutionError(ErrorCode.AGENT_FAILED, "No.", "Try.")
                ended = FinishedExecution(
                    id=found[status],
                    status=ExecutionStatus(status),
                    error=error if status == "FAILED" else None,
                    agent_results={},
                    execution_graph={},
                )
                finish_executions(session, [ended], at=now.at, started_at=now.at, state=now)
    found["PENDING"] = queue(client, workflow)
    return found


def test_every_status_is_listed_and_filtered(database, admin, workflow):
    made = one_of_each_status(database, admin, workflow)
    assert made.keys() == {status.value for status in ExecutionStatus}
    listed = admin.get("/executions").json()["items"]
    assert {item["status"]: item["id"] for item in listed} == made
    for status, id in made.items():
        assert ids(admin, status=status) == [id]
    several = ids(admin, status=["PAUSED", "CANCELLED", "PENDING"])
    assert several == sorted([made["PAUSED"], made["CANCELLED"], made["PENDING"]], reverse=True)
    assert ids(admin, error_code="agent.failed") == [made["FAILED"]]
    assert ids(admin, error_code="agent.timed_out") == []


def test_every_other_filter_narrows(api: Api, database, admin, workflow):
    other = simple_workflow(database, ACME, name="Other")
    first = queue(admin, workflow, labels={"campaign": "spring", "owner": "a:b"})
    second = queue(admin, other, labels={"campaign": "spring"})
    batch = admin.post(
        "/executions/bulk?execution_ids=true", json={"workflow_id": workflow.id, "inputs": ["x"]}
    ).json()
    (third,) = batch["execution_ids"]
    assert ids(admin) == [third, second, first]
    assert ids(admin, order="oldest") == [first, second, third]
    assert ids(admin, workflow_id=workflow.id) == [third, first]
    assert ids(admin, workflow_id="other") == [second]
    assert ids(admin, trigger="batch") == [third]
    assert ids(admin, batch_id=batch["batch_id"]) == [third]
    assert ids(admin, label="campaign:spring") == [second, first]
    assert ids(admin, label=["campaign:spring", "owner:a:b"]) == [first]
    assert ids(admin, label="campaign:autumn") == []
    assert ids(admin, requested_by="user_admin") == [third, second, first]
    assert ids(admin, requested_by="user_nobody") == []
    at = admin.get(f"/executions/{second}").json()["created_at"]
    assert ids(admin, created_after=at) == [third, second]
    assert ids(admin, created_before=at) == [first]
    assert ids(admin, created_after=at, created_before=at) == []
    assert ids(admin, created_after=at, status=["PENDING", "PAUSED"], order="oldest") == [
        second,
        third,
    ]


def test_pages_are_stable_while_executions_arrive(admin, workflow):
    made = [queue(admin, workflow, labels={"a": "b"}) for _ in range(7)]
    filters = (
        {},
        {"status": ["PENDING", "PAUSED"]},
        {"label": "a:b"},
        {"created_after": "2020-01-01T00:00:00Z"},
        {"order": "oldest"},
    )
    for params in filters:
        seen, cursor = [], {}
        while True:
            page = admin.get("/executions", params={**params, "limit": 2, **cursor}).json()
            seen += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None or len(seen) >= 100:
                break
            cursor = {"cursor": page["next_cursor"]}
            new = queue(admin, workflow, labels={"c": "d"})
            if params.get("order") == "oldest" and len(made) < 12:
                made.append(new)
        assert len(set(seen)) == len(seen)
        if params.get("order") == "oldest":
            assert seen[:7] == made[:7]
        else:
            assert [id for id in seen if id in made] == made[::-1]


def test_a_page_has_no_payload_and_a_total_only_when_asked(admin, workflow):
    queue(admin, workflow, "a secret")
    plain = admin.get("/executions")
    assert "secret" not in plain.text
    assert plain.json()["total"] is None
    counted = admin.get("/executions", params={"count": True, "status": "PENDING"}).json()
    assert (counted["total"], counted["total_is_estimate"]) == (1, False)


def test_a_total_above_ten_thousand_is_an_estimate(admin, workflow):
    wish = {"workflow_id": workflow.id, "inputs": ["x"] * MAX_BATCH}
    admin.post("/executions/bulk", json=wish).raise_for_status()
    exact = admin.get("/executions", params={"count": True, "limit": 1}).json()
    assert (exact["total"], exact["total_is_estimate"]) == (MAX_BATCH, False)
    queue(admin, workflow)
    more = admin.get("/executions", params={"count": True, "limit": 1}).json()
    assert more["total_is_estimate"]
    assert more["total"] > MAX_BATCH


def test_a_wrong_query_is_refused_with_the_place(admin, workflow):
    for _ in range(2):
        queue(admin, workflow)
    good = admin.get("/executions", params={"limit": 1}).json()["next_cursor"]

    def forged(*parts: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()

    kind, scope, at, id = json.loads(base64.urlsafe_b64decode(good + "=="))
    cursors = [
        "",
        "x",
        "é",
        good[:-4],
        forged(kind, scope, at),
        forged(kind, scope, "yesterday", id),
        forged(kind, scope, at[:19], id),
        forged(kind, scope, at, "exec_' or 1=1"),
        forged("audit", scope, at, id),
        forged(kind, scope, at, 7),
        base64.urlsafe_b64encode(b"[" * 400).decode(),
    ]
    for cursor in cursors:
        answer = admin.get("/executions", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor.invalid"), cursor
    elsewhere = admin.get("/executions", params={"cursor": good, "trigger": "api"})
    assert elsewhere.json()["code"] == "cursor.invalid"
    wrong = [
        ({"status": "WAITING"}, "/query/status/0"),
        ({"limit": 0}, "/query/limit"),
        ({"limit": 201}, "/query/limit"),
        ({"label": "campaign"}, "/query/label/0"),
        ({"label": ["a:b", "a:c"]}, "/query/label/1"),
        ({"label": "a:\x00"}, "/query/label/0"),
        ({"created_after": "5"}, "/query/created_after"),
        ({"created_after": "2026-03-01T12:00:00"}, "/query/created_after"),
        ({"requested_by": "a\x00"}, "/query/requested_by"),
        ({"satus": "PENDING"}, "/query/satus"),
    ]
    for params, pointer in wrong:
        answer = admin.get("/executions", params=params)
        assert answer.status_code == 422, params
        assert pointer in {problem["pointer"] for problem in answer.json()["problems"]}, params


def test_times_far_away_are_taken(admin, workflow):
    id = queue(admin, workflow)
    far = {
        "created_after": "0001-01-02T00:00:00-23:59",
        "created_before": "9999-12-30T23:59:59+23:59",
    }
    assert ids(admin, **far) == [id]
    at = datetime.fromisoformat(admin.get(f"/executions/{id}").json()["created_at"])
    later = (at + timedelta(seconds=1)).isoformat()
    assert ids(admin, created_after=later) == []
