"""Nothing of Globex reaches Acme by any operation: generated from the OpenAPI document.

Every operation is called by Acme's administrator with every id, slug and name that Globex has. A
new route is covered as soon as it is in the document; one whose parameter no value of Globex fits
fails the test, because it would prove nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import Connection, text

from api.access import Access, allow
from api.app import create_app
from api.state import ApiState
from domain.executions import Trigger
from domain.ids import OrgId, UserId
from domain.permissions import Permission, Role
from persistence.connectors import set_connector, set_dataset
from persistence.executions import add_execution
from persistence.organizations import ensure_member
from persistence.schedules import add_schedule
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.api.conftest import Api
from tests.api.operations import Operation, operations
from tests.api.serving import serve
from tests.persistence.test_isolation import ORG_TABLES, fill_every_table, tables
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import simple_workflow

CANARY = "globex-canary"
# Not found, or refused for other reasons, perhaps before anything was looked up.
NOT_LIVE = frozenset({401, 403, 404, 405, 406, 415, 422, 428})
# User ids are shared by all organizations, so that a person may be in several: to make somebody a
# member whom another organization has, too, is no access to anything of that organization.
MAKES_NEW = frozenset({"PUT /api/v1/members/{user_id}"})
# What belongs to no organization.
OF_ALL = frozenset({"GET /api/v1/agent-types/{type}"})


@dataclass(frozen=True)
class Foreign:
    """What Globex has and Acme has not."""

    values: tuple[str, ...]
    """Ids, slugs and names, to ask for."""
    secrets: tuple[str, ...]
    """What no answer may hold, unless it was asked for by it."""


@pytest.fixture
def foreign(database: Database, superuser: Connection) -> Foreign:
    for org_id in (ACME, GLOBEX):
        fill_every_table(database, org_id)
    mark_globex(database, superuser)
    found = {org_id: identifiers(superuser, org_id) for org_id in (ACME, GLOBEX)}
    only = found[GLOBEX].keys() - found[ACME].keys()
    one_each: dict[str, str] = {}
    for value in sorted(only):
        one_each[found[GLOBEX][value]] = value
    ids = {value for value in only if "_" in value and len(value) > 12}
    return Foreign(tuple(sorted(one_each.values())), tuple(sorted({CANARY, *ids})))


def mark_globex(database: Database, superuser: Connection) -> None:
    """Give Globex rows that say whose they are, in all that answers show."""
    user_id = UserId("user_globex_canary")
    with database.for_platform() as session:
        ensure_member(session, GLOBEX, user_id, name=CANARY, role="editor")
    workflow = simple_workflow(database, GLOBEX, name=CANARY)
    with database.org(GLOBEX, user_id=user_id) as session:
        add_execution(
            session,
            workflow.id,
            version=1,
            input_data={"text": CANARY},
            trigger=Trigger.API,
            idempotency_key=f"{CANARY}-key",
        )
        add_token(session, user_id, name=CANARY, expires_at=datetime.now(UTC) + timedelta(days=1))
        set_connector(session, CANARY, {"kind": "dataset", "secret": CANARY})
        set_dataset(session, CANARY, CANARY.encode(), row_count=1)
        add_schedule(
            session, workflow.id, cron="0 8 * * *", timezone="UTC", input_data={"text": CANARY}
        )
    document = json.dumps({"text": CANARY})
    for statement in (
        "update executions set output = :d, input_data = :d, labels = :d,"
        " agent_results = jsonb_build_object('Step 1', cast(:d as jsonb)),"
        " batch_id = 'globex-canary-batch'",
        "update agent_runs set data = :d where data is not null",
        "update runs set worker = 'globex-canary-worker'",
        "update organizations set name = 'globex-canary'",
    ):
        key = "id" if "organizations" in statement else "org_id"
        joint = "and" if " where " in statement else "where"
        superuser.execute(text(f"{statement} {joint} {key} = :org"), {"org": GLOBEX, "d": document})


def identifiers(superuser: Connection, org_id: OrgId) -> dict[str, str]:
    """List an organization's ids, slugs and names, each with a column that it is in."""
    columns = superuser.execute(
        text(
            "select table_name, column_name from information_schema.columns "
            "where table_schema = 'public' and data_type = 'text' "
            "and (column_name in ('id', 'slug', 'name') or column_name like '%\\_id')"
        )
    ).all()
    org_tables = set(tables(superuser, ORG_TABLES))
    found: dict[str, str] = {org_id: "organizations.id"}
    for table, column in columns:
        if table in org_tables:
            values = superuser.execute(
                text(f"select distinct {column} from {table} where org_id = :org"), {"org": org_id}
            ).scalars()
            for value in values:
                if value:
                    found.setdefault(value, f"{table}.{column}")
    return found


def rows_of_globex(superuser: Connection) -> dict[str, list[str]]:
    return {
        table: sorted(
            superuser.execute(
                text(f"select t::text from {table} t where org_id = :org"), {"org": GLOBEX}
            ).scalars()
        )
        for table in tables(superuser, ORG_TABLES)
    }


def control_client(api: Api) -> httpx.Client:
    """Globex's own administrator: a new one, who is not removed by a call with Globex's ids."""
    user_id = UserId("user_control")
    with api.database.for_platform() as session:
        ensure_member(session, GLOBEX, user_id, name="Control", role="admin")
    with api.database.org(GLOBEX, user_id=user_id) as session:
        ends = datetime.now(UTC) + timedelta(hours=1)
        _, secret = add_token(session, user_id, name="control", expires_at=ends)
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=api.url, headers=headers, timeout=30)


def calls(operation: Operation, foreign: Foreign) -> Iterator[tuple[Operation, str, dict]]:
    """List the ways to name something of Globex: in the path, in the body, in the query."""
    if operation.is_stream:
        return
    if not operation.takes_ids and not operation.body_ids and not operation.query_parameters:
        yield operation, "", {}
    for value in foreign.values:
        if operation.takes_ids:
            yield operation, value, {}
        for key in operation.body_ids:
            yield operation.with_body_id(key, value), value, {}
        if not operation.takes_ids:
            for name in operation.query_parameters:
                yield operation, value, {name: value}


def leaks_in(response: httpx.Response, foreign: Foreign, asked: str) -> list[str]:
    shown = response.text + "\n".join(f"{k}: {v}" for k, v in response.headers.items())
    # Who asks by an id may see that id in the refusal, and nothing else.
    shown = shown.replace(asked, "") if asked else shown
    return [secret for secret in foreign.secrets if secret != asked and secret in shown]


@dataclass
class Audit:
    """All calls of one application, by Acme first and then by Globex."""

    app: FastAPI
    api: Api
    foreign: Foreign
    faults: list[str] = field(default_factory=list)
    statuses: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def find_faults(self) -> list[str]:
        """List what Acme must not have got."""
        with self.api.client() as acme:
            for operation in operations(self.app):
                for call, value, query in calls(operation, self.foreign):
                    self.look(call, value, query, acme.send(call.request(acme, value, query=query)))
        # Only now: what Globex's own administrator does with the same ids changes them.
        order = {"get": 0, "post": 1, "put": 2, "patch": 2, "delete": 3}
        with control_client(self.api) as globex:
            for operation in sorted(operations(self.app), key=lambda each: order[each.method]):
                if (operation.takes_ids or operation.body_ids) and operation.name not in MAKES_NEW:
                    self.compare(operation, globex)
        return self.faults

    def look(
        self, call: Operation, value: str, query: dict[str, str], response: httpx.Response
    ) -> None:
        """Look at what Acme got."""
        self.statuses[call.name, value, str(query)] = response.status_code
        where = f"{call.name} {value} {query or ''}"
        if response.status_code >= 500:
            self.faults.append(f"{where}: {response.status_code}")
        for leak in leaks_in(response, self.foreign, value):
            self.faults.append(f"{where}: shows {leak}")

    def compare(self, operation: Operation, globex: httpx.Client) -> None:
        """Where Globex finds something of its own, Acme must have found nothing."""
        live = 0
        for call, value, query in calls(operation, self.foreign):
            if query:
                continue
            own = globex.send(call.request(globex, value)).status_code
            got = self.statuses[call.name, value, str(query)]
            if own not in NOT_LIVE or (own, got) == (422, 404):
                live += 1
            if own not in NOT_LIVE and got != 404:
                self.faults.append(f"{call.name} {value}: {got} for Acme, {own} for Globex")
        if not live and operation.name not in OF_ALL:
            self.faults.append(f"{operation.name}: nothing of Globex fits, so this proves nothing")


def test_no_operation_shows_or_finds_anything_of_another_organization(
    database: Database, foreign: Foreign, superuser: Connection
):
    app = create_app(ApiState(database=database))
    with serve(app, database) as api:
        assert Audit(app, api, foreign).find_faults() == []


def test_no_operation_changes_anything_of_another_organization(
    database: Database, foreign: Foreign, superuser: Connection
):
    app = create_app(ApiState(database=database))
    before = rows_of_globex(superuser)
    assert [table for table, rows in before.items() if not rows] == []
    with serve(app, database) as api, api.client() as acme:
        for operation in operations(app):
            for call, value, query in calls(operation, foreign):
                acme.send(call.request(acme, value, query=query))
    assert rows_of_globex(superuser) == before


def test_no_stream_tells_of_another_organization(
    database: Database, foreign: Foreign, superuser: Connection
):
    app = create_app(ApiState(database=database))
    streams = [operation for operation in operations(app) if operation.is_stream]
    assert streams
    ours, theirs = (simple_workflow(database, org, name="Live") for org in (ACME, GLOBEX))
    with serve(app, database) as api:
        for operation in streams:
            with api.client() as acme:
                request = operation.request(acme, "")
                request.headers["Last-Event-ID"] = "0"
                response = acme.send(request, stream=True)
                shown = str(response.headers)
                for org_id, workflow in ((GLOBEX, theirs), (ACME, ours)):
                    with database.org(org_id) as session:
                        last = add_execution(
                            session, workflow.id, version=1, input_data={}, trigger=Trigger.API
                        )
                for line in response.iter_lines():
                    shown += line
                    if last.id in line:
                        break
                response.close()
            secrets = {*foreign.secrets, theirs.id}
            assert [secret for secret in secrets if secret in shown] == []


def test_a_route_without_the_check_is_found(
    database: Database, foreign: Foreign, superuser: Connection
):
    app = create_app(ApiState(database=database))
    add_careless_routes(app)
    with serve(app, database) as api:
        faults = "\n".join(Audit(app, api, foreign).find_faults())
    for path in ("/api/v1/careless/{workflow_id}", "/api/v1/careless"):
        assert f"GET {path} " in faults
    # One that shows nothing, but tells which ids there are.
    assert "POST /api/v1/careless/{workflow_id}/touch" in faults


def add_careless_routes(app: FastAPI) -> None:
    """Add what somebody in a hurry might write: look-ups by a role that sees all tenants."""
    reader = Annotated[Access, Depends(allow(Permission.WORKFLOWS_READ))]
    by_id = text("select id, name from workflows where id = :id or :id = ''")

    def find(access: Access, workflow_id: str) -> list[dict]:
        with access.state.database.for_platform() as session:
            rows = session.execute(by_id, {"id": workflow_id}).mappings()
            return [dict(row) for row in rows]

    @app.get("/api/v1/careless/{workflow_id}")
    def read(access: reader, workflow_id: str) -> list[dict]:  # type: ignore[valid-type]
        return find(access, workflow_id)

    @app.get("/api/v1/careless")
    def read_all(access: reader) -> list[dict]:  # type: ignore[valid-type]
        return find(access, "")

    @app.post("/api/v1/careless/{workflow_id}/touch")
    def touch(access: reader, workflow_id: str) -> dict:  # type: ignore[valid-type]
        if not find(access, workflow_id):
            raise HTTPException(404)
        return {}


def test_both_organizations_have_rows_in_every_table(foreign: Foreign, superuser: Connection):
    for table in tables(superuser, ORG_TABLES):
        found = superuser.execute(text(f"select distinct org_id from {table}")).scalars().all()
        assert {ACME, GLOBEX} <= set(found), table


def test_the_callers_role_is_the_widest_an_organization_has():
    assert max(Role, key=list(Role).index) is Role.ADMIN
