"""Organizations and members over HTTP."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from domain.ids import OrgId, UserId
from domain.permissions import Role
from persistence.audit import verify_audit
from persistence.members import set_platform_admin
from tests.api.conftest import Api
from tests.support.databases import ACME, GLOBEX


@pytest.fixture
def platform(api: Api, admin: httpx.Client) -> httpx.Client:
    """Acme's administrator, who administers the platform too."""
    with api.database.for_platform() as session:
        set_platform_admin(session, UserId("user_admin"), is_admin=True)
    return admin


@pytest.fixture
def second(api: Api) -> Iterator[httpx.Client]:
    """Another administrator of Acme, who signed up as an operator."""
    with api.client(Role.OPERATOR) as client:
        yield client


def audited(api: Api, org_id: str) -> list[tuple[str, str, str]]:
    query = text("select action, resource_id, user_id from audit_logs order by seq")
    with api.database.org(OrgId(org_id), snapshot=True) as session:
        assert verify_audit(session).first_bad_seq is None
        return [tuple(row) for row in session.execute(query)]


def test_an_organization_is_made_with_its_first_administrator(api: Api, platform: httpx.Client):
    wish = {"name": "Initech", "id": "org_initech", "first_admin": "user_bill"}
    made = platform.post("/organizations", json=wish)
    assert (made.status_code, made.json()["slug"]) == (201, "initech")
    with api.database.org(OrgId("org_initech")) as session:
        rows = session.execute(text("select user_id, role from memberships")).all()
    assert [tuple(row) for row in rows] == [("user_bill", "admin")]
    assert audited(api, "org_initech") == [
        ("organization.created", "org_initech", "user_admin"),
        ("member.added", "user_bill", "user_admin"),
    ]


def test_without_a_named_one_its_maker_administers_it(api: Api, platform: httpx.Client):
    made = platform.post("/organizations", json={"name": "Soylent Corp"}).json()
    assert made["slug"] == "soylent-corp"
    with api.database.org(OrgId(made["id"])) as session:
        assert session.execute(text("select user_id from memberships")).scalars().all() == [
            "user_admin"
        ]


def test_a_taken_id_or_slug_is_refused(platform: httpx.Client):
    for wish in ({"name": "Mine", "id": "org_globex"}, {"name": "Globex"}):
        answer = platform.post("/organizations", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (409, "organization.id_taken")


def test_all_organizations_are_listed_by_page(platform: httpx.Client):
    first = platform.get("/organizations", params={"limit": 1}).json()
    assert [each["id"] for each in first["items"]] == [ACME]
    rest = platform.get("/organizations", params={"cursor": first["next_cursor"]}).json()
    assert ([each["id"] for each in rest["items"]], rest["next_cursor"]) == ([GLOBEX], None)


def test_who_does_not_administer_the_platform_sees_the_own_organization_only(admin: httpx.Client):
    assert admin.get("/organizations").status_code == 403
    assert admin.post("/organizations", json={"name": "Mine"}).status_code == 403
    assert admin.get("/organization").json()["id"] == ACME


def test_a_new_user_becomes_a_member_and_changes_role(api: Api, admin: httpx.Client):
    added = admin.put("/members/user_anna", json={"role": "viewer", "name": "Anna Berg"})
    assert (added.status_code, added.json()["name"]) == (201, "Anna Berg")
    changed = admin.put("/members/user_anna", json={"role": "editor"})
    same = admin.put("/members/user_anna", json={"role": "editor"})
    assert (changed.status_code, same.json()["role"]) == (200, "editor")
    members = {each["user_id"]: each["role"] for each in admin.get("/members").json()["items"]}
    assert members["user_anna"] == "editor"
    acts = [entry[0] for entry in audited(api, ACME) if entry[1] == "user_anna"]
    assert acts == ["member.added", "member.changed"]


def test_the_last_administrator_can_be_neither_demoted_nor_removed(admin: httpx.Client):
    for answer in (
        admin.put("/members/user_admin", json={"role": "viewer"}),
        admin.delete("/members/user_admin"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "member.last_admin")


def test_two_administrators_who_demote_each_other_leave_one(
    api: Api, admin: httpx.Client, second: httpx.Client
):
    admin.put("/members/user_operator", json={"role": "admin"}).raise_for_status()
    demote = {"role": "viewer"}
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda act: act[0].put(f"/members/{act[1]}", json=demote),
                [(admin, "user_operator"), (second, "user_admin")],
            )
        )
    assert sum(answer.status_code == 200 for answer in answers) == 1
    with api.database.org(ACME) as session:
        query = text("select count(*) from memberships where role = 'admin'")
        assert session.scalar(query) == 1


def test_a_removed_members_tokens_let_nobody_in_and_a_return_is_possible(
    api: Api, admin: httpx.Client, second: httpx.Client
):
    assert second.get("/organization").status_code == 200
    assert admin.delete("/members/user_operator").status_code == 204
    assert second.get("/organization").status_code == 401
    assert admin.delete("/members/user_operator").status_code == 404
    members = [each["user_id"] for each in admin.get("/members").json()["items"]]
    assert "user_operator" not in members
    back = admin.put("/members/user_operator", json={"role": "viewer"})
    assert (back.status_code, back.json()["role"]) == (201, "viewer")


def test_members_are_listed_by_page(admin: httpx.Client):
    for name in ("anna", "bob"):
        admin.put(f"/members/user_{name}", json={"role": "viewer"}).raise_for_status()
    first = admin.get("/members", params={"limit": 2}).json()
    rest = admin.get("/members", params={"cursor": first["next_cursor"]}).json()
    found = [each["user_id"] for each in first["items"] + rest["items"]]
    assert found == ["user_admin", "user_anna", "user_bob"]


def test_people_of_another_organization_are_not_found(api: Api, admin: httpx.Client):
    with api.client(org_id=GLOBEX) as other:
        wish = {"role": "editor", "name": "Hidden Name"}
        other.put("/members/user_hidden", json=wish).raise_for_status()
    answers = [
        admin.put("/members/user_hidden", json={"role": "viewer"}),
        admin.delete("/members/user_hidden"),
        admin.get("/members"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 200]
    assert "Hidden" not in "".join(answer.text for answer in answers)


def test_what_is_no_users_id_is_refused(admin: httpx.Client, subtests):
    for user_id in ("anna", "user_", "user_A", "org_x", "user_" + "a" * 100):
        with subtests.test(user_id=user_id):
            answer = admin.put(f"/members/{user_id}", json={"role": "viewer"})
            assert answer.status_code == 422


def test_an_editor_sees_no_members(api: Api):
    with api.client(Role.EDITOR) as editor:
        assert editor.get("/members").status_code == 403
        assert editor.put("/members/user_x", json={"role": "admin"}).status_code == 403
