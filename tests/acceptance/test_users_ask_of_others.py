"""Bugs of other schedulers, as promises of this one: whose queue it is, and why something waits.

The numbers are those of the list of such bugs that the project keeps.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from psycopg import errors
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from domain.clock import utc_now
from domain.ids import ExecutionId, OrgId
from domain.limits import OrgLimits, WorkflowLimits
from persistence.limits import set_org_limits, set_workflow_limits
from persistence.queue import claim_run
from persistence.roles import APP_ROLE, derive_role_url
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.api_process import api_process
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import chain, queue, save_workflow, simple_workflow
from tests.support.outages import without
from tests.support.services import Services, wait_for, wait_until_final

# What a role may not do, and what a policy does not let through, are one SQLSTATE.
REFUSED = (errors.InsufficientPrivilege, errors.ForeignKeyViolation)


@pytest.fixture
def clients(
    database: Database, database_url: URL, tmp_path: Path
) -> Iterator[dict[OrgId, httpx.Client]]:
    """The API as a process, and an administrator's client of each organization."""
    with api_process(database_url, tmp_path / "api.log") as api:
        found: dict[OrgId, httpx.Client] = {}
        for org_id in (ACME, GLOBEX):
            with database.org(org_id, user_id=ADMIN) as session:
                until = utc_now() + timedelta(hours=1)
                _, secret = add_token(session, ADMIN, name="ask", expires_at=until)
            headers = {"Authorization": f"Bearer {secret}"}
            found[org_id] = httpx.Client(base_url=f"{api.url}/api/v1", headers=headers)
        try:
            yield found
        finally:
            for client in found.values():
                client.close()


@pytest.mark.processes
def test_ask_9_one_tenant_cannot_use_anothers_queue_by_the_api(
    database: Database, clients: dict[OrgId, httpx.Client], subtests
):
    """Number 9, API: what Globex has waiting is not there for Acme, whatever it asks for."""
    workflow = simple_workflow(database, GLOBEX, name="Theirs")
    execution = queue(database, GLOBEX, workflow)
    acme, globex = clients[ACME], clients[GLOBEX]
    limits = {"max_running": 1, "max_batch": 1, "is_paused": True}
    attempts = {
        "explain": acme.get(f"/executions/{execution.id}/explain"),
        "cancel": acme.post(f"/executions/{execution.id}/cancel"),
        "timeline": acme.get(f"/executions/{execution.id}/timeline"),
        "read limits": acme.get(f"/workflows/{workflow.id}/limits"),
        "set limits": acme.put(f"/workflows/{workflow.id}/limits", json=limits),
        "queue by id": acme.post("/executions", json={"workflow_id": workflow.id, "input": "x"}),
        "queue by slug": acme.post("/executions", json={"workflow_id": "theirs", "input": "x"}),
    }
    for name, answer in attempts.items():
        with subtests.test(name):
            assert answer.status_code == 404, answer.text
            assert "Theirs" not in answer.text
    with subtests.test("Globex's own figures are untouched, and Acme sees none of them"):
        theirs = globex.get(f"/executions/{execution.id}").json()
        assert (theirs["status"], theirs["priority"]) == ("PENDING", 3)
        assert globex.get(f"/workflows/{workflow.id}/limits").json()["is_paused"] is False
        assert globex.get("/metrics/queue").json()["waiting"] == 1
        assert acme.get("/metrics/queue").json()["waiting"] == 0
    with subtests.test("their places do not count each other"):
        own = queue(database, ACME, simple_workflow(database, ACME, name="Ours"))
        blockers = acme.get(f"/executions/{own.id}/explain").json()["blockers"]
        assert "behind_others" not in [blocker["kind"] for blocker in blockers]


def test_ask_9_one_tenant_cannot_use_anothers_queue_by_raw_sql(
    database: Database, database_url: URL, subtests
):
    """Number 9, SQL: the database refuses it, also to code that forgets to ask for its own."""
    theirs = simple_workflow(database, GLOBEX)
    waiting, carried = (queue(database, GLOBEX, theirs) for _ in range(2))
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=3600)
    assert claimed is not None
    ours = simple_workflow(database, ACME)
    changes = {
        "priority": "update executions set priority = 1 where org_id = 'org_globex'",
        "cancelling": "update executions set cancel_requested_at = now() where id = :waiting",
        "taking it": "update executions set org_id = 'org_acme' where id = :waiting",
        "claiming": "update executions set run_id = null where id = :carried",
        "removing": "delete from executions where id = :waiting",
        "their limit": "update organizations set max_running = 0 where id = 'org_globex'",
        "their pause": "update organizations set paused_at = now() where id = 'org_globex'",
        "their workflow's limit": "update workflows set max_running = 0 where id = :theirs",
        "their run": "update runs set lease_expires_at = now() where id = :run",
        "our turn": "update queue_heads set clock = -1 where org_id = 'org_acme'",
        "everybody's turn": "update queue_clock set time = 1e9",
        "a worker": "insert into workers (name, slots, expires_at) values ('x', 9, now())",
        "an execution of theirs": "insert into executions (id, org_id, workflow_id, "
        "workflow_version, input_data, trigger, priority, created_at) values "
        "('exec_x', 'org_globex', :theirs, 1, '{}', 'api', 1, now())",
        "ours with their workflow": "insert into executions (id, org_id, workflow_id, "
        "workflow_version, input_data, trigger, priority, created_at) values "
        "('exec_x', 'org_acme', :theirs, 1, '{}', 'api', 1, now())",
        "ours in their run": "update executions set run_id = :run where workflow_id = :ours",
    }
    ids = {"waiting": waiting.id, "carried": carried.id, "theirs": theirs.id}
    ids |= {"run": claimed.run.id, "ours": ours.id}
    queue(database, ACME, ours)
    engine = create_engine(derive_role_url(database_url, APP_ROLE), poolclass=NullPool)
    for name, statement in changes.items():
        with subtests.test(name), engine.connect() as connection, connection.begin() as transaction:
            set_org = text("select set_config('app.org_id', 'org_acme', true)")
            connection.execute(set_org)
            used = {k: v for k, v in ids.items() if f":{k}" in statement}
            refusal = None
            try:
                changed = connection.execute(text(statement), used).rowcount
            except DBAPIError as error:
                changed, refusal = 0, error.orig
            assert changed == 0
            assert refusal is None or isinstance(refusal, REFUSED)
            transaction.rollback()


class Explained:
    """What the API says of why executions wait."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def ask(self, id: ExecutionId) -> dict[str, dict[str, object]]:
        answer = self.client.get(f"/executions/{id}/explain")
        assert answer.status_code == 200, answer.text
        return {blocker["kind"]: blocker for blocker in answer.json()["blockers"]}

    def wait_for(self, id: ExecutionId, *kinds: str) -> dict[str, dict[str, object]]:
        def look() -> dict[str, dict[str, object]] | None:
            found = self.ask(id)
            return found if set(kinds) <= set(found) else None

        return wait_for(f"{kinds} of {id}", look, timeout_s=100)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.prefect
@pytest.mark.timeout(400)
def test_ask_10_what_waits_says_why(
    services: Services,
    database: Database,
    clients: dict[OrgId, httpx.Client],
    tmp_path: Path,
    subtests,
):
    """Number 10: no worker, limit, position, paused, Prefect away; each with what to do."""
    explained = Explained(clients[ACME])
    gate = tmp_path / "gate"
    step = {"type": "probe", "config": {"gate": str(gate)}, "options": {"timeout_s": 900}}
    workflow = save_workflow(database, ACME, chain("Gated", step))

    def limit(*, org: int | None = None, own: int | None = None, pause: str = "") -> None:
        of_org = OrgLimits(weight=1, max_running=org, max_queued=None, is_paused=pause == "org")
        of_own = WorkflowLimits(max_running=own, max_batch=None, is_paused=pause == "workflow")
        with database.org(ACME, user_id=ADMIN) as session:
            set_org_limits(session, of_org)
            set_workflow_limits(session, workflow.id, of_own)

    limit(own=1)
    ids = [queue(database, ACME, workflow).id for _ in range(4)]
    with subtests.test("no worker"):
        assert "no_worker" in explained.ask(ids[0])
    services.steward()
    services.worker()
    with subtests.test("the workflow's limit, and the position"):
        found = explained.wait_for(ids[3], "workflow_limit", "behind_others")
        assert found["workflow_limit"]["count"] == 1
        assert found["behind_others"]["count"] == 2
        assert "no_worker" not in found
        assert "behind_others" not in explained.ask(ids[1])
        assert set(explained.ask(ids[0])) == {"starting"}
    with subtests.test("the organization's limit"):
        limit(org=1)
        found = explained.wait_for(ids[1], "organization_limit")
        assert "workflow_limit" not in found
        assert "`Gated` (1)" in str(found["organization_limit"]["message"])
    for pause in ("organization", "workflow"):
        with subtests.test(f"the {pause} paused"):
            limit(org=1, pause=pause.replace("organization", "org"))
            assert f"{pause}_paused" in explained.wait_for(ids[1], f"{pause}_paused")
    limit(org=1)
    with subtests.test("Prefect away"), without(services.stack, "prefect"):
        explained.wait_for(ids[1], "prefect_away")
    with subtests.test("and back"):
        wait_for("it forgotten", lambda: "prefect_away" not in explained.ask(ids[1]))
    with subtests.test("every reason says what to do"):
        assert all(each["hint"] for each in explained.ask(ids[3]).values())
    gate.touch()
    limit()
    wait_until_final(database, ACME, ids)
    with subtests.test("it does not wait"):
        assert set(explained.ask(ids[0])) == {"ended"}
