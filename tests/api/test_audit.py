"""The audit trail over HTTP: who did what, page by page, exported whole, and verified."""

import itertools
import json
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from domain.permissions import Role
from tests.api.conftest import Api
from tests.support.databases import GLOBEX


@pytest.fixture
def trail(api: Api, admin: httpx.Client) -> list[str]:
    """Twelve tokens are made by Acme's admin, two by Globex's; the ids of Acme's."""
    with api.client(org_id=GLOBEX) as other:
        for number in range(2):
            other.post("/tokens", json={"name": f"theirs {number}"}).raise_for_status()
    return [admin.post("/tokens", json={"name": f"t{n}"}).json()["id"] for n in range(12)]


def pages(client: httpx.Client, **parameters: str | int) -> Iterator[list[dict]]:
    cursor = None
    while True:
        asked = {**parameters, **({"cursor": cursor} if cursor else {})}
        page = client.get("/audit", params=asked).raise_for_status().json()
        yield page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_give_every_entry_once_and_in_order(admin: httpx.Client, trail, order):
    found = [entry["seq"] for page in pages(admin, order=order, limit=5) for entry in page]
    assert sorted(found, reverse=order == "newest") == found
    assert found == list(dict.fromkeys(found))
    assert set(found) == set(range(1, len(found) + 1))


def test_pages_stay_apart_while_entries_are_added(admin: httpx.Client, trail):
    walk = pages(admin, limit=5)
    first = next(walk)
    admin.post("/tokens", json={"name": "meanwhile"})
    rest = [entry["seq"] for page in walk for entry in page]
    assert rest == list(range(first[-1]["seq"] - 1, 0, -1))


def test_filters_narrow_the_list(admin: httpx.Client, trail):
    def ids(**parameters: str) -> list[str]:
        found = admin.get("/audit", params={**parameters, "limit": 500}).raise_for_status()
        return [entry["resource_id"] for entry in found.json()["items"]]

    assert ids(resource_id=trail[3]) == [trail[3]]
    assert set(trail) <= set(ids(action="token.created", user_id="user_admin"))
    assert ids(action="token.revoked") == []
    assert ids(user_id="user_nobody") == []
    assert ids(success="false") == []
    assert set(trail) <= set(ids(resource_type="token"))
    middle = admin.get("/audit", params={"resource_id": trail[6]}).json()["items"][0]["timestamp"]
    assert set(trail[6:]) <= set(ids(since=middle))
    assert trail[5] not in ids(since=middle)
    assert set(trail[6:]).isdisjoint(ids(until=middle))


def test_a_cursor_of_another_list_is_refused(admin: httpx.Client, trail):
    cursor = admin.get("/audit", params={"limit": 2}).json()["next_cursor"]
    for parameters in ({"cursor": cursor, "order": "oldest"}, {"cursor": "nonsense"}):
        answer = admin.get("/audit", params=parameters)
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor.invalid")


def test_an_export_is_whole_and_is_itself_an_entry(admin: httpx.Client, trail):
    answer = admin.get("/audit/export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    for one, after in itertools.pairwise(lines):
        assert after["prev_hash"] == one["hash"]
    newest = admin.get("/audit", params={"limit": 1}).json()["items"][0]
    assert newest["action"] == "audit.exported"
    assert newest["seq"] == len(lines) + 1


def test_an_export_keeps_to_its_filter(admin: httpx.Client, trail):
    lines = admin.get("/audit/export", params={"resource_id": trail[0]}).text.splitlines()
    assert [json.loads(line)["resource_id"] for line in lines] == [trail[0]]


def test_a_whole_chain_is_verified(admin: httpx.Client, trail):
    found = admin.get("/audit/verify").json()
    newest = admin.get("/audit", params={"limit": 1}).json()["items"][0]
    assert found["ok"] is True
    assert found["first_bad"] is None
    assert found["head"] == {"seq": newest["seq"], "hash": newest["hash"]}
    assert found["checked"] == newest["seq"]


def test_a_changed_entry_is_named(admin: httpx.Client, trail, cluster, database_url):
    bad = admin.get("/audit", params={"resource_id": trail[4]}).json()["items"][0]
    with create_engine(cluster.as_superuser(database_url), poolclass=NullPool).begin() as link:
        link.execute(text("set session_replication_role = replica"))
        link.execute(
            text("update audit_logs set user_id = 'user_other' where id = :id"), {"id": bad["id"]}
        )
    found = admin.get("/audit/verify").json()
    assert found["ok"] is False
    assert (found["first_bad"]["seq"], found["first_bad"]["id"]) == (bad["seq"], bad["id"])
    assert found["checked"] == bad["seq"] - 1


def test_nothing_of_another_organization_is_listed_or_exported(api: Api, admin, trail):
    with api.client(org_id=GLOBEX) as other:
        theirs = {entry["id"] for page in pages(other) for entry in page}
        exported = other.get("/audit/export").text
    assert theirs
    ours = {entry["id"] for page in pages(admin) for entry in page}
    assert ours.isdisjoint(theirs)
    assert [id for id in ours if id in exported] == []


@pytest.mark.parametrize("path", ["/audit", "/audit/export", "/audit/verify"])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.EDITOR])
def test_only_administrators_read_the_trail(api: Api, path, role):
    with api.client(role) as client:
        assert client.get(path).status_code == 403
