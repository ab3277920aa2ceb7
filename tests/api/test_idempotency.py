"""The same request with the same key is done once; another request with it is refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from deployments.catalogue import write_catalogue
from deployments.settings import load_settings
from domain.clock import utc_now
from domain.permissions import Role
from tests.api.conftest import Api
from tests.api.test_workflows import search
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import simple_workflow

KEY = {"Idempotency-Key": "order 1"}


def count(database, table: str) -> int:
    with database.org(ACME) as session:
        return session.scalars(text(f"select count(*) from {table}")).one()


@pytest.fixture
def workflow(database):
    return simple_workflow(database, ACME)


def bulk(client: httpx.Client, wish: dict, headers: dict[str, str] = KEY) -> httpx.Response:
    return client.post("/executions/bulk?execution_ids=true", json=wish, headers=headers)


def test_a_bulk_request_sent_again_is_the_same_batch(database, admin, workflow):
    wish = {"workflow_id": workflow.id, "inputs": ["a", {"text": "b"}]}
    first, again = bulk(admin, wish), bulk(admin, wish)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    lines = admin.post(
        f"/executions/bulk?workflow_id={workflow.id}",
        content='"a"\n"b"\n',
        headers={**KEY, "Content-Type": "application/x-ndjson"},
    )
    assert lines.json()["batch_id"] == first.json()["batch_id"]
    assert count(database, "executions") == 2
    assert (
        bulk(admin, wish, {"Idempotency-Key": "2"}).json()["batch_id"] != first.json()["batch_id"]
    )


def test_bulk_requests_sent_at_the_same_time_are_one_batch(api: Api, database, admin, workflow):
    wish = {"workflow_id": workflow.id, "inputs": ["a"] * 50}
    with ThreadPoolExecutor(6) as threads:
        answers = [*threads.map(lambda _: bulk(admin, wish).json(), range(6))]
    assert len({answer["batch_id"] for answer in answers}) == 1
    assert count(database, "executions") == 50


CHANGES = [
    {"priority": 1},
    {"labels": {"a": "b"}},
    {"deadline": (utc_now() + timedelta(days=1)).isoformat()},
    {"version": 1},
    {"inputs": ["a", "c"]},
    {"batch_id": "other"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_another_bulk_request_with_the_key_is_refused(database, admin, workflow, change):
    wish = {"workflow_id": workflow.id, "inputs": ["a", "b"]}
    bulk(admin, wish).raise_for_status()
    answer = bulk(admin, {**wish, **change})
    assert (answer.status_code, answer.json()["code"]) == (409, "execution.idempotency_conflict")
    assert count(database, "executions") == 2


@pytest.mark.parametrize("change", CHANGES[:3], ids=lambda change: next(iter(change)))
def test_another_single_request_with_the_key_is_refused(database, admin, workflow, change):
    wish = {"workflow_id": workflow.id, "input": "a"}
    admin.post("/executions", json=wish, headers=KEY).raise_for_status()
    answer = admin.post("/executions", json={**wish, **change}, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "execution.idempotency_conflict")
    assert admin.post("/executions", json=wish, headers=KEY).status_code == 202
    assert count(database, "executions") == 1


def test_a_key_of_a_request_that_was_refused_is_free(admin, workflow):
    wish = {"workflow_id": "nothing", "inputs": ["a"]}
    assert bulk(admin, wish).status_code == 404
    assert bulk(admin, {**wish, "workflow_id": workflow.id}).status_code == 202


def test_another_organizations_key_is_another_key(api: Api, database, admin, workflow):
    other = simple_workflow(database, GLOBEX)
    bulk(admin, {"workflow_id": workflow.id, "inputs": ["a"]}).raise_for_status()
    with api.client(org_id=GLOBEX) as client:
        assert bulk(client, {"workflow_id": other.id, "inputs": ["b"]}).status_code == 202


def test_a_workflow_is_made_once_for_a_key(api: Api, database, database_url):
    url = database_url.render_as_string(hide_password=False)
    write_catalogue(load_settings({"TENANTRY_DATABASE_URL": url}))
    with api.client(Role.EDITOR) as editor:
        answers = [editor.post("/workflows", json=search(), headers=KEY) for _ in range(2)]
        other = editor.post("/workflows", json=search("Other"), headers=KEY)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert other.json()["code"] == "execution.idempotency_conflict"
    assert count(database, "workflows") == 1


def test_a_token_is_made_once_for_a_key_and_its_secret_told_once(database, admin):
    before = count(database, "api_tokens")
    first = admin.post("/tokens", json={"name": "n"}, headers=KEY)
    again = admin.post("/tokens", json={"name": "n"}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 409)
    assert first.json()["id"] in again.json()["detail"]
    assert count(database, "api_tokens") == before + 1


def test_keys_are_forgotten_after_a_week(database, admin, workflow):
    wish = {"workflow_id": workflow.id, "inputs": ["a"]}
    bulk(admin, wish).raise_for_status()
    with database.org(ACME) as session:
        session.execute(text("update idempotency_keys set created_at = now() - interval '8 days'"))
    bulk(admin, wish).raise_for_status()
    assert count(database, "executions") == 2
    assert count(database, "idempotency_keys") == 1
