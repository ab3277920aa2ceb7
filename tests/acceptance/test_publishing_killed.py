"""A steward that is killed in the middle of publishing: the next one goes on where it was."""

import signal
from collections import Counter

import pytest
from sqlalchemy import Connection, text

from persistence.publishing import read_progress
from persistence.sessions import Database
from tests.acceptance.conftest import Tell
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import simple_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.prefect,
    pytest.mark.timeout(240),
]
_EACH = 20


def count_waiting(database: Database) -> int:
    with database.for_platform() as session:
        return read_progress(session).waiting


def test_what_a_killed_steward_had_not_published_the_next_one_publishes_and_nothing_twice(
    services: Services, database: Database, superuser: Connection, tell: Tell
):
    workflows = [
        simple_workflow(database, org_id, name=f"Workflow {number}")
        for number in range(_EACH)
        for org_id in (ACME, GLOBEX)
    ]
    steward = services.steward()
    wait_for("a few published", lambda: count_waiting(database) <= 34, timeout_s=100, every_s=0.01)
    steward.send_signal(signal.SIGKILL)
    steward.wait()
    left = count_waiting(database)
    tell("published when it was killed", len(workflows) - left)
    assert left > 0
    done = text(
        "select id, prefect_deployment_id::text, updated_at from workflows"
        " where published is not null order by id"
    )
    before = {row.id: row for row in superuser.execute(done)}
    by_org = Counter(each.org_id for each in workflows if each.id in before)
    assert abs(by_org[ACME] - by_org[GLOBEX]) <= 4  # organizations in turn, four at a time

    services.steward()
    wait_for("all published", lambda: count_waiting(database) == 0, timeout_s=100)
    api = PrefectApi(services.stack.prefect_api_url)
    for workflow in workflows:
        org = "acme" if workflow.org_id == ACME else "globex"
        (there,) = api.deployments(f"{org}.{workflow.slug}", "live")
        here = superuser.execute(
            text("select prefect_deployment_id::text from workflows where id = :id"),
            {"id": workflow.id},
        ).scalar_one()
        assert there["id"] == here
