"""The platform's own flows, deployed from `prefect.yaml` by Prefect's own command."""

from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from persistence.sessions import Database
from tests.support.databases import ACME, GLOBEX, Cluster
from tests.support.factories import queue, simple_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for

TAMPER = "update audit_logs set success = not success where org_id = 'org_globex' and seq = 1"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_nightly_flow_finds_the_organization_whose_trail_was_changed(
    services: Services, database: Database, cluster: Cluster
):
    for org_id in (ACME, GLOBEX):
        queue(database, org_id, simple_workflow(database, org_id))
    services.worker()
    api = PrefectApi(services.stack.prefect_api_url)
    wait_for("the work pool", lambda: has_pool(services.stack.prefect_api_url))
    deploy = services.prefect("--no-prompt", "deploy", "--all")
    assert deploy.wait(timeout=90) == 0, services.log()
    deployment = api.deployment("platform.verify-audit-trails", "nightly")
    assert [schedule["active"] for schedule in deployment["schedules"]] == [True]

    sound = run_to_end(api, deployment["id"])
    assert sound["state"]["type"] == "COMPLETED"
    assert sound["state"]["message"] == "2 chains hold"

    engine = create_engine(cluster.as_superuser(services.database_url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        assert connection.execute(text(TAMPER)).rowcount == 1
    broken = run_to_end(api, deployment["id"])
    assert broken["state"]["type"] == "FAILED"
    assert broken["state"]["message"] == "1 of 2 broken: globex"


def has_pool(url: str) -> bool:
    return httpx.get(f"{url}/work_pools/tenantry", timeout=10).status_code == 200


def run_to_end(api: PrefectApi, deployment_id: str) -> dict[str, Any]:
    started = api.run_deployment(deployment_id)

    def look() -> dict[str, Any] | None:
        found = api.flow_run(started["id"])
        return found if found["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED") else None

    return wait_for("the flow's end", look)
