"""Figures over executions: exact counts and percentiles, by bucket and by group."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from domain.permissions import Role
from tests.api.conftest import Api
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import simple_workflow

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


# Ended executions at times of our choice, which only a superuser can write.
ENDED = text("""
insert into executions (id, org_id, workflow_id, workflow_version, status, trigger, input_data,
    created_at, started_at, completed_at, duration_seconds, tokens_used, cost,
    error_code, error, error_hint)
select :prefix || n, :org, :workflow, 1, :status, 'api', '{}', cast(:at as timestamptz),
    cast(:at as timestamptz) + n * interval '100 ms',
    cast(:at as timestamptz) + n * interval '1100 ms', n, 10, cast(:cost as numeric),
    case when :status = 'FAILED' then 'agent.failed' end,
    case when :status = 'FAILED' then 'It failed.' end,
    case when :status = 'FAILED' then 'Try again.' end
from generate_series(1, :count) n
""")
AGENT_RUN = text("""
with run as (
    insert into runs (id, org_id, workflow_id, workflow_version, worker, lease_token,
        lease_expires_at)
    select 'run_1', org_id, workflow_id, 1, 'w', gen_random_uuid(), now() from executions
    where id = 'a1' returning id, org_id)
insert into agent_runs (id, org_id, execution_id, run_id, agent_name, attempt, status, data,
    error_code, error, error_hint, tokens_used, cost, duration_seconds, started_at, completed_at)
select 'arun_' || attempt, org_id, 'a1', id, 'Qualifier', attempt,
    case attempt when 1 then 'FAILED' else 'COMPLETED' end,
    case attempt when 2 then jsonb '{}' end,
    case attempt when 1 then 'agent.failed' end, 'x', 'x', 5, 0.25, attempt, now(), now()
from run, generate_series(1, 2) attempt
""")


@pytest.fixture
def figures(api: Api, cluster, database_url):
    """Acme: 100 completed ones of 1 to 100 s in one hour, two failed ones in the next."""
    ours, theirs = simple_workflow(api.database, ACME), simple_workflow(api.database, GLOBEX)
    done = {"org": ACME, "workflow": ours.id, "status": "COMPLETED", "at": START, "cost": "0.1"}
    later = START + timedelta(hours=1, minutes=5)
    failed = {**done, "status": "FAILED", "at": later, "cost": "0.00000001"}
    with create_engine(cluster.as_superuser(database_url), poolclass=NullPool).begin() as link:
        link.execute(ENDED, {**done, "prefix": "a", "count": 100})
        link.execute(ENDED, {**failed, "prefix": "b", "count": 2})
        link.execute(
            ENDED, {**done, "prefix": "c", "count": 7, "org": GLOBEX, "workflow": theirs.id}
        )
        link.execute(AGENT_RUN)
    return ours


def ask(client: httpx.Client, **parameters: str) -> dict:
    span = {"from": START.isoformat(), "to": (START + timedelta(hours=3)).isoformat()}
    answer = client.get("/metrics/executions", params={**span, **parameters})
    return answer.raise_for_status().json()


def test_counts_rates_percentiles_and_costs_are_exact(admin: httpx.Client, figures):
    found = ask(admin)
    total, (first, second) = found["total"], found["rows"]
    assert (total["count"], first["count"], second["count"]) == (102, 100, 2)
    assert total["success_rate"] == pytest.approx(100 / 102)
    assert first["bucket"] == "2026-03-01T10:00:00Z"
    assert second["bucket"] == "2026-03-01T11:00:00Z"
    assert first["duration_seconds"] == pytest.approx({"p50": 50.5, "p95": 95.05, "p99": 99.01})
    assert first["queue_wait_seconds"] == pytest.approx({"p50": 5.05, "p95": 9.505})
    assert (first["cost"], second["cost"]) == ("10.00000000", "0.00000002")
    assert second["by_status"]["FAILED"] == 2
    assert total["tokens_used"] == 1020


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("status", {"COMPLETED": 100, "FAILED": 2}),
        ("trigger", {"api": 102}),
        ("error_code", {None: 100, "agent.failed": 2}),
    ],
)
def test_figures_are_told_apart_by_what_is_asked_for(
    admin: httpx.Client, figures, group_by, groups
):
    rows = ask(admin, group_by=group_by, bucket="day")["rows"]
    assert {row["group"]: row["count"] for row in rows} == groups


def test_figures_by_workflow_name_the_workflow(admin: httpx.Client, figures):
    rows = ask(admin, group_by="workflow", bucket="day")["rows"]
    assert [row["group"] for row in rows] == [figures.id]


def test_a_time_in_which_nothing_happened_has_a_total_of_none(admin: httpx.Client):
    for group_by in ("agent", "workflow"):
        found = ask(admin, group_by=group_by)
        assert found["rows"] == []
        assert found["total"]["count"] == 0
        assert found["total"]["success_rate"] is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z", "bucket": "minute"},
        {"from": "2020-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z", "bucket": "day"},
        {"from": "2026-01-01T00:00:00"},
        {"bucket": "second"},
        {"to": "0001-01-01T00:00:00Z"},
    ],
)
def test_a_span_that_would_be_too_much_is_refused(admin: httpx.Client, parameters):
    answer = admin.get("/metrics/executions", params=parameters)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["pointer"].startswith("/query/")


def test_figures_by_agent_count_each_attempt(admin: httpx.Client, figures):
    (row,) = ask(admin, group_by="agent", bucket="day")["rows"]
    assert (row["group"], row["count"], row["success_rate"]) == ("Qualifier", 2, 0.5)
    assert (row["cost"], row["tokens_used"]) == ("0.50000000", 10)
    assert row["duration_seconds"]["p50"] == 1.5


def test_every_role_reads_figures(api: Api):
    with api.client(Role.VIEWER) as viewer:
        assert viewer.get("/metrics/executions").status_code == 200
