"""Who may call what: every operation, by every role, with every kind of token.

What is expected comes from the one table of roles and permissions, and from the permission that
each route names by `allow`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from api.app import PREFIX, create_app
from api.state import ApiState, Rate
from domain.ids import UserId
from domain.permissions import ROLE_PERMISSIONS, Permission, Role, permissions_of
from persistence.members import set_platform_admin
from persistence.sessions import Database
from tests.api.conftest import Api
from tests.api.operations import Operation, operations
from tests.api.serving import serve

# Every call here is refused, and most by the address's limit if that were not out of the way.
WIDE = Rate(per_s=100_000, burst=100_000)


@pytest.fixture
def app(database: Database) -> FastAPI:
    return create_app(ApiState(database=database, stranger_rate=WIDE))


@pytest.fixture
def api(app: FastAPI, database: Database) -> Iterator[Api]:
    with serve(app, database) as api:
        yield api


def permissions_in(dependant: Dependant) -> list[Permission]:
    own = getattr(dependant.call, "permission", None)
    inner = [found for each in dependant.dependencies for found in permissions_in(each)]
    return [own, *inner] if own is not None else inner


def required(app: FastAPI) -> dict[tuple[str, str], list[Permission]]:
    """Read from each route below the prefix which permissions it names."""
    return {
        (method.lower(), route.path): permissions_in(route.dependant)
        for route in iter_route_contexts(app.routes)
        if route.path.startswith(PREFIX) and hasattr(route, "dependant")
        for method in route.methods or ()
        if method != "HEAD"
    }


def answers(api: Api, app: FastAPI, token: str | None) -> dict[str, int]:
    """Call every operation on things that do not exist; give the statuses by operation."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    found: dict[str, int] = {}
    with httpx.Client(base_url=api.url, headers=headers, timeout=30) as client:
        for operation in operations(app):
            # An empty body: an example may itself ask for more than its sender may do.
            empty = replace(operation, body=None if operation.body is None else {})
            response = client.send(empty.request(client, "nothing"), stream=True)
            found[operation.name] = response.status_code
            response.close()
    return found


def outcome(status: int) -> str:
    return {401: "not let in", 403: "not allowed"}.get(status, "allowed")


def test_every_route_names_exactly_one_permission(app: FastAPI):
    routes = {key: found for key, found in required(app).items() if "openapi" not in key[1]}
    assert {key: found for key, found in routes.items() if len(found) != 1} == {}
    assert {(each.method, each.path) for each in operations(app)} <= set(routes)


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_what_the_table_says_and_nothing_else(api: Api, app: FastAPI, role: Role):
    needed = required(app)
    found = answers(api, app, api.token(role))
    expected = {
        each.name: "allowed" if needs(needed, each) in ROLE_PERMISSIONS[role] else "not allowed"
        for each in operations(app)
    }
    assert {name: outcome(status) for name, status in found.items()} == expected


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("kind", ["expired", "revoked"])
def test_an_expired_or_revoked_token_of_any_role_lets_in_nowhere(
    api: Api, app: FastAPI, role: Role, kind: str
):
    token = make_token(api, role, kind)
    found = answers(api, app, token)
    assert {name: status for name, status in found.items() if status != 401} == {}


@pytest.mark.parametrize("token", [None, "tnt_nobody", "tnt_"])
def test_without_a_token_nobody_is_let_in_anywhere(api: Api, app: FastAPI, token: str | None):
    found = answers(api, app, token)
    assert {name: status for name, status in found.items() if status != 401} == {}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("first", [0, 1])
def test_a_narrowed_token_allows_what_its_scopes_and_its_owners_role_both_do(
    api: Api, app: FastAPI, role: Role, first: int
):
    # Every second permission, then the others: each operation is tried with and without its own.
    # Among them are scopes that the role does not have: they give nothing.
    scopes = sorted(Permission)[first::2]
    needed = required(app)
    found = answers(api, app, api.token(role, scopes=scopes))
    allowed = ROLE_PERMISSIONS[role] & set(scopes)
    expected = {
        each.name: "allowed" if needs(needed, each) in allowed else "not allowed"
        for each in operations(app)
    }
    assert {name: outcome(status) for name, status in found.items()} == expected


def test_a_platform_administrator_may_besides_what_the_platform_allows(api: Api, app: FastAPI):
    token = api.token(Role.VIEWER)
    with api.database.for_platform() as session:
        set_platform_admin(session, UserId("user_viewer"), is_admin=True)
    allowed = permissions_of(Role.VIEWER, platform_admin=True)
    needed = required(app)
    expected = {
        each.name: "allowed" if needs(needed, each) in allowed else "not allowed"
        for each in operations(app)
    }
    found = answers(api, app, token)
    assert {name: outcome(status) for name, status in found.items()} == expected


def test_a_role_that_is_taken_away_takes_its_tokens_along(api: Api, app: FastAPI):
    with api.client() as admin:
        token = api.token(Role.EDITOR)
        admin.put("/members/user_editor", json={"role": "viewer"}).raise_for_status()
    needed = required(app)
    found = answers(api, app, token)
    may = {name for name, status in found.items() if outcome(status) == "allowed"}
    viewer = ROLE_PERMISSIONS[Role.VIEWER]
    assert may == {each.name for each in operations(app) if needs(needed, each) in viewer}


def needs(needed: dict[tuple[str, str], list[Permission]], operation: Operation) -> Permission:
    (permission,) = needed[operation.method, operation.path]
    return permission


def make_token(api: Api, role: Role, kind: str) -> str:
    if kind == "expired":
        return api.token(role, life=timedelta(seconds=-1))
    token = api.token(role)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{api.url}/api/v1", headers=headers) as client:
        own = client.get("/tokens").raise_for_status().json()["items"]
        mine = next(each for each in own if token.startswith(each["prefix"]))
        client.delete(f"/tokens/{mine['id']}").raise_for_status()
    return token
