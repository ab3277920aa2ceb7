"""The queue's figures: an organization's own for itself, everybody's for the platform."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api.platform_metrics import create_metrics_app
from api.state import ApiState
from domain.clock import utc_now
from domain.ids import OrgId
from persistence.execution_moves import finish_executions, start_executions
from persistence.executions import list_carried
from persistence.queue import claim_run
from persistence.runs import close_run
from persistence.sessions import Database
from tests.api.conftest import Api, serve
from tests.persistence.test_queue import fill
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import ending, simple_workflow
from tests.support.lives import running_state


def carry_out(database: Database, org_id: OrgId, count: int, *, left: int = 0) -> None:
    """Have executions of an organization run to their ends; `left` of them are only started."""
    fill(database, org_id, simple_workflow(database, org_id), count)
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60, size=count)
    assert claimed is not None
    assert claimed.run.org_id == org_id
    with database.org(org_id) as session:
        start_executions(session, claimed.run.id, state=(state := running_state()), at=state.at)
        ends = [ending(each) for each in list_carried(session, claimed.run.id)[left:]]
        finish_executions(session, ends, at=utc_now(), started_at=None, state=None)
        if not left:
            close_run(session, claimed.run.id)


def ask(api: Api, org_id: OrgId, **parameters: int) -> dict:
    with api.client(org_id=org_id) as client:
        return client.get("/metrics/queue", params=parameters).raise_for_status().json()


def test_an_organization_sees_its_share_and_the_index(api: Api):
    carry_out(api.database, ACME, 30)
    carry_out(api.database, GLOBEX, 10)
    acme, globex = (ask(api, org_id) for org_id in (ACME, GLOBEX))
    assert (acme["started"], acme["completed"], acme["waiting"]) == (30, 30, 0)
    assert 0 <= acme["wait_p50_seconds"] <= acme["wait_p95_seconds"]
    index = round(40**2 / (2 * (30**2 + 10**2)), 4)
    shared = {"window_seconds": 3_600, "jain_index": index, "fair_part_index": 1.0}
    assert acme["fairness"] == {**shared, "started_share": 0.75, "completed_share": 0.75}
    assert globex["fairness"] == {**shared, "started_share": 0.25, "completed_share": 0.25}


def test_nothing_of_others_is_told_but_the_index(api: Api):
    carry_out(api.database, GLOBEX, 37)
    told = ask(api, ACME)
    assert told["fairness"]["completed_share"] == 0
    assert told["started"] == told["completed"] == told["running"] == told["waiting"] == 0
    assert told["wait_p95_seconds"] is None
    assert "37" not in str(told)
    assert "globex" not in str(told).lower()


@pytest.mark.parametrize(("asked", "given"), [(1, 60), (60, 60), (61, 300), (86_400, 3_600)])
def test_shares_are_of_one_of_a_few_spans(api: Api, asked: int, given: int):
    told = ask(api, ACME, window_seconds=asked)
    assert (told["window_seconds"], told["fairness"]["window_seconds"]) == (asked, given)


def test_a_role_without_the_right_sees_none(api: Api):
    token = api.token(scopes=[])
    answer = httpx.get(
        f"{api.url}/api/v1/metrics/queue", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 403


@contextmanager
def platform(database: Database, **known: int) -> Iterator[str]:
    state = ApiState(database=database, **known)  # type: ignore[arg-type]
    with serve(create_metrics_app(state), database) as served:  # type: ignore[arg-type]
        yield httpx.get(f"{served.url}/metrics").raise_for_status().text


def value(shown: str, series: str) -> float:
    (line,) = [line for line in shown.splitlines() if line.startswith(f"{series} ")]
    return float(line.split()[-1])


def test_prometheus_sees_everybodys_waits_shares_and_the_indexes(database: Database):
    carry_out(database, ACME, 30, left=3)
    carry_out(database, GLOBEX, 10)
    fill(database, GLOBEX, simple_workflow(database, GLOBEX, name="More"), 5)
    with platform(database) as shown:
        acme = f'org="{ACME}"'
        assert value(shown, f"tenantry_org_started{{{acme}}}") == 30
        assert value(shown, f"tenantry_org_completed{{{acme}}}") == 27
        assert value(shown, f"tenantry_org_running{{{acme}}}") == 3
        assert value(shown, f'tenantry_org_share{{of="started",{acme}}}') == 0.75
        assert value(shown, f'tenantry_org_wait_seconds{{{acme},quantile="0.95"}}') >= 0
        assert value(shown, f'tenantry_org_waiting{{org="{GLOBEX}"}}') == 5
        index = value(shown, 'tenantry_queue_jain_index{of="completed"}')
        assert index == pytest.approx(37**2 / (2 * (27**2 + 10**2)))
        assert value(shown, 'tenantry_queue_fair_part_index{of="completed"}') < 1
        assert value(shown, "tenantry_queue_orgs") == 2
        assert value(shown, "tenantry_queue_orgs_not_shown") == 0


def test_prometheus_is_told_of_so_many_organizations_and_no_more(database: Database):
    carry_out(database, ACME, 5)
    carry_out(database, GLOBEX, 50)
    with platform(database, most_org_series=1) as shown:
        assert len(set(re.findall(r'org="([^"]+)"', shown))) == 1
        assert value(shown, "tenantry_queue_orgs_not_shown") == 1
        assert value(shown, "tenantry_queue_orgs") == 2
