"""Tokens let in, and no longer once they are revoked, expired or their owner's role is gone."""

from datetime import datetime, timedelta, timezone

import httpx
import pytest
from sqlalchemy import text

from domain.clock import utc_now
from domain.permissions import Role
from persistence.tokens import MAX_LIVE_TOKENS
from tests.api.conftest import Api
from tests.support.databases import GLOBEX


def ask(api: Api, token: str | None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{api.url}/api/v1/tokens", headers=headers)


def test_a_token_is_shown_once_and_lets_in(api: Api, admin: httpx.Client):
    made = admin.post("/tokens", json={"name": "nightly"}).raise_for_status().json()
    assert made["secret"].startswith(made["prefix"])
    assert ask(api, made["secret"]).status_code == 200
    assert "secret" not in admin.get("/tokens").json()["items"][0]


@pytest.mark.parametrize("token", [None, "tnt_wrong", "é", "x" * 5000])
def test_without_a_valid_token_nobody_is_let_in(api: Api, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
    answer = httpx.get(f"{api.url}/api/v1/tokens", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "token.invalid"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_revoked_token_lets_nobody_in(api: Api, admin: httpx.Client):
    made = admin.post("/tokens", json={"name": "short"}).json()
    assert admin.delete(f"/tokens/{made['id']}").json()["revoked_at"]
    assert ask(api, made["secret"]).status_code == 401


def test_an_expired_token_lets_nobody_in(api: Api):
    assert ask(api, api.token(life=timedelta(seconds=-1))).status_code == 401


def test_a_narrowed_token_makes_no_wider_one(api: Api, admin: httpx.Client):
    made = admin.post("/tokens", json={"name": "narrow", "scopes": ["tokens.own"]}).json()
    narrow = {"Authorization": f"Bearer {made['secret']}"}
    wide = {"name": "wide", "scopes": ["workflows.write"]}
    answer = httpx.post(f"{api.url}/api/v1/tokens", headers=narrow, json=wide)
    assert answer.status_code == 403
    same = httpx.post(f"{api.url}/api/v1/tokens", headers=narrow, json={"name": "same"}).json()
    assert same["scopes"] == ["tokens.own"]


def test_another_organizations_token_does_not_exist(api: Api, admin: httpx.Client):
    with api.client(org_id=GLOBEX) as other:
        theirs = other.post("/tokens", json={"name": "theirs"}).json()
    answer = admin.delete(f"/tokens/{theirs['id']}")
    assert answer.status_code == 404
    assert theirs["name"] not in admin.get("/tokens").text


def test_a_viewer_sees_and_revokes_only_their_own(api: Api, admin: httpx.Client):
    admins = admin.post("/tokens", json={"name": "admins"}).json()
    with api.client(Role.VIEWER) as viewer:
        assert viewer.delete(f"/tokens/{admins['id']}").status_code == 404
        assert {t["user_id"] for t in viewer.get("/tokens").json()["items"]} == {"user_viewer"}


def test_the_secret_is_nowhere_in_the_database(
    api: Api, admin: httpx.Client, cluster, database_url
):
    secret = admin.post("/tokens", json={"name": "nightly"}).json()["secret"]
    with api.database.org("org_acme") as session:  # type: ignore[arg-type]
        rows = session.execute(text("select t::text from api_tokens t")).scalars().all()
        entries = session.execute(text("select a::text from audit_logs a")).scalars().all()
    assert secret not in "".join([*rows, *entries])


def test_making_and_revoking_are_audited_with_address_and_agent(api: Api, admin: httpx.Client):
    made = admin.post("/tokens", json={"name": "t"}, headers={"User-Agent": "probe/1"}).json()
    with api.database.org("org_acme") as session:  # type: ignore[arg-type]
        row = session.execute(
            text("select user_id, ip_address, user_agent from audit_logs where resource_id = :id"),
            {"id": made["id"]},
        ).one()
    assert tuple(row) == ("user_admin", "127.0.0.1", "probe/1")


@pytest.mark.parametrize("given", [5, 1e12, "5", "1893456000", True, "2030-01-01T00:00:00"])
def test_a_tokens_end_is_a_time_in_words_with_its_zone(admin: httpx.Client, given: object):
    answer = admin.post("/tokens", json={"name": "t", "expires_at": given})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["pointer"] == "/expires_at"


def test_a_tokens_end_may_be_given_in_any_zone(admin: httpx.Client):
    end = (utc_now() + timedelta(minutes=30)).astimezone(timezone(timedelta(hours=18)))
    made = admin.post("/tokens", json={"name": "t", "expires_at": end.isoformat()}).json()
    assert datetime.fromisoformat(made["expires_at"]) == end


def child_of(api: Api, secret: str, **wish: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.post(f"{api.url}/api/v1/tokens", headers=headers, json={"name": "c", **wish})


def test_a_token_ends_at_latest_with_the_one_that_it_was_made_with(api: Api):
    short = api.token(life=timedelta(minutes=5))
    child = child_of(api, short).raise_for_status().json()
    assert child["parent_id"] is not None
    end = datetime.fromisoformat(child["expires_at"])
    assert end <= utc_now() + timedelta(minutes=5)
    late = child_of(api, short, expires_at=(utc_now() + timedelta(days=365)).isoformat())
    assert late.status_code == 422
    assert late.json()["problems"][0]["pointer"] == "/expires_at"


def test_what_was_made_with_a_revoked_token_is_revoked_with_it_and_audited(
    api: Api, admin: httpx.Client
):
    first = admin.post("/tokens", json={"name": "first"}).json()
    child = child_of(api, first["secret"]).json()
    grandchild = child_of(api, child["secret"]).json()
    assert (child["parent_id"], grandchild["parent_id"]) == (first["id"], child["id"])
    admin.delete(f"/tokens/{first['id']}").raise_for_status()
    family = (first, child, grandchild)
    assert [ask(api, each["secret"]).status_code for each in family] == [401, 401, 401]
    entries = admin.get("/audit", params={"action": "token.revoked"}).json()["items"]
    assert {e["resource_id"]: e["details"] for e in entries} == {
        first["id"]: {},
        child["id"]: {"parent_id": first["id"]},
        grandchild["id"]: {"parent_id": child["id"]},
    }


def test_a_removed_members_tokens_stay_revoked_when_they_are_added_again(
    api: Api, admin: httpx.Client
):
    secret = api.token(Role.VIEWER)
    assert ask(api, secret).status_code == 200
    admin.delete("/members/user_viewer").raise_for_status()
    admin.put("/members/user_viewer", json={"role": "viewer"}).raise_for_status()
    assert ask(api, secret).status_code == 401
    entries = admin.get("/audit", params={"action": "token.revoked"}).json()["items"]
    assert [entry["details"] for entry in entries] == [{"member_removed": "user_viewer"}]


def test_a_member_has_so_many_live_tokens_and_no_more(api: Api, admin: httpx.Client):
    made = [admin.post("/tokens", json={"name": "t"}) for _ in range(MAX_LIVE_TOKENS)]
    # The one that asks counts as well.
    assert [answer.status_code for answer in made] == [201] * (MAX_LIVE_TOKENS - 1) + [409]
    assert made[-1].json()["code"] == "token.limit_reached"
    admin.delete(f"/tokens/{made[0].json()['id']}").raise_for_status()
    assert admin.post("/tokens", json={"name": "t"}).status_code == 201
