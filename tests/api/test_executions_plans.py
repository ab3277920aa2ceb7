"""Every filter reads by an index, as one organization's role among the rows of many."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from domain.execution_queries import ExecutionFilter, Order, Position
from domain.executions import ExecutionStatus, Trigger
from domain.ids import ExecutionId, OrgId, WorkflowId
from persistence.execution_lists import (
    EXACT_UP_TO,
    count_executions,
    explain,
    list_summaries,
    page_query,
)
from persistence.sessions import Database
from tests.support.databases import ACME, GLOBEX, open_roles

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWN, OTHERS, OTHER_ORGS = 20_000, 40_000, 40
IDLE_ORG, IDLE = OrgId("org_idle"), 500
SEEN = 1_000

# One row a second. The rare ones are at the far end, where a walk from the newest comes last.
ROWS = """
insert into executions (id, org_id, workflow_id, workflow_version, status, trigger, input_data,
    created_at, completed_at, error, error_code, error_hint, requested_by, batch_id, labels)
select 'exec_' || lpad(to_hex(n), 26, '0'),
    case when n % 3 = 0 then 'org_acme' else 'org_other_' || n % :orgs end,
    'wf_' || n % 20, 1, s.status, case when n % 200 = 0 then 'replay' else 'api' end,
    '{"text": "x"}', :noon + n * interval '1 second',
    case when s.is_final then :noon + (n + 1) * interval '1 second' end,
    case when s.status = 'FAILED' then 'No.' end,
    case when s.status = 'FAILED' then
        case when n < 600 then 'agent.timed_out' else 'agent.failed' end end,
    case when s.status = 'FAILED' then 'Try.' end,
    'user_' || n % 50,
    case when n % 10 = 0 then 'batch_' || n / 1000 end,
    case when n % 5 = 0
        then jsonb_build_object('campaign', 'c' || n % 100, 'rare', 'r' || n) else '{}' end
from generate_series(1, :rows) n, lateral (
    select case when n % 6 = 0 or n % 7 < 4 then 'COMPLETED' when n % 7 = 4 then 'FAILED'
        when n < 3000 then 'PAUSED' when n % 7 = 5 then 'CANCELLED' else 'PENDING' end as status
) k, lateral (select k.status, k.status in ('COMPLETED', 'FAILED', 'CANCELLED') as is_final) s
"""

# An organization that was idle while all others wrote: `-` comes before all digits.
IDLE_ROWS = """
insert into executions (id, org_id, workflow_id, workflow_version, trigger, input_data, created_at,
    labels)
select 'exec_' || lpad(to_hex(n), 26, '-'), 'org_idle', 'wf_idle', 1, 'api', '{}',
    :noon - (:idle - n) * interval '1 second', '{"campaign": "c15"}'
from generate_series(1, :idle) n
"""
LABEL_ROWS = """
insert into execution_labels (org_id, key, value, created_at, execution_id)
select org_id, key, value, created_at, id from executions, jsonb_each_text(labels)
"""

FILTERS = {
    "nothing": ExecutionFilter(),
    "workflow": ExecutionFilter(workflow_id=WorkflowId("wf_3")),
    "status": ExecutionFilter(statuses=frozenset({ExecutionStatus.COMPLETED})),
    "rare status": ExecutionFilter(statuses=frozenset({ExecutionStatus.PAUSED})),
    "no such status": ExecutionFilter(statuses=frozenset({ExecutionStatus.RUNNING})),
    "several statuses": ExecutionFilter(
        statuses=frozenset({ExecutionStatus.PAUSED, ExecutionStatus.FAILED})
    ),
    "all statuses": ExecutionFilter(statuses=frozenset(ExecutionStatus)),
    "trigger": ExecutionFilter(trigger=Trigger.REPLAY),
    "error code": ExecutionFilter(error_code="agent.timed_out"),
    "requester": ExecutionFilter(requested_by="user_3"),
    "batch": ExecutionFilter(batch_id="batch_3"),
    "label": ExecutionFilter(labels=(("campaign", "c15"),)),
    "rare label": ExecutionFilter(labels=(("rare", "r15"),)),
    "after": ExecutionFilter(created_after=NOON + timedelta(seconds=59_000)),
    "range": ExecutionFilter(
        created_after=NOON + timedelta(seconds=900), created_before=NOON + timedelta(seconds=1800)
    ),
    "before": ExecutionFilter(created_before=NOON + timedelta(seconds=900)),
    "two labels": ExecutionFilter(labels=(("campaign", "c15"), ("rare", "r15"))),
    "label and range": ExecutionFilter(
        labels=(("campaign", "c15"),),
        created_after=NOON + timedelta(seconds=900),
        created_before=NOON + timedelta(seconds=9000),
    ),
    "label and status": ExecutionFilter(
        labels=(("campaign", "c15"),),
        statuses=frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.FAILED}),
    ),
    "label and requester": ExecutionFilter(labels=(("campaign", "c15"),), requested_by="user_15"),
    "range and status": ExecutionFilter(
        created_after=NOON + timedelta(seconds=900),
        created_before=NOON + timedelta(seconds=9000),
        statuses=frozenset({ExecutionStatus.PAUSED, ExecutionStatus.FAILED}),
    ),
    "workflow and status": ExecutionFilter(
        workflow_id=WorkflowId("wf_3"), statuses=frozenset({ExecutionStatus.PAUSED})
    ),
}


@pytest.fixture(scope="module")
def full(cluster, template) -> Iterator[Database]:
    """A database of 60,000 executions, a third of them Acme's."""
    url = cluster.copy(template)
    engine = create_engine(cluster.as_superuser(url), poolclass=NullPool)
    with engine.begin() as connection:
        # The rows' workflows are not there: only the plans of lists matter here.
        connection.execute(text("set local session_replication_role = replica"))
        values = {"orgs": OTHER_ORGS, "noon": NOON, "rows": OWN + OTHERS}
        connection.execute(text(ROWS), values)
        connection.execute(text(IDLE_ROWS), {"noon": NOON, "idle": IDLE})
        connection.execute(text(LABEL_ROWS))
    with engine.begin() as connection:
        connection.execute(text("analyze executions, execution_labels"))
    with open_roles(url) as database:
        yield database
    cluster.drop(url)


def scans(plan) -> Iterator[dict]:
    """Find where a plan takes rows of executions or labels from."""
    if plan.get("Relation Name") in {"executions", "execution_labels"} or "Index Name" in plan:
        yield plan
    for child in plan.get("Plans", []):
        yield from scans(child)


def is_held_to_its_organization(scan: dict) -> bool:
    """Say whether a scan reads only the part of an index that is an organization's own."""
    # What a bitmap says where to find was read by an index below it.
    return scan["Node Type"] == "Bitmap Heap Scan" or "org_id" in scan.get("Index Cond", "")


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("later", [False, True], ids=["first page", "later page"])
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_reads_by_an_index(full, name, order, later):
    middle = OWN * 3 // 2
    place = Position(NOON + timedelta(seconds=middle), ExecutionId(f"exec_{middle:026x}"))
    query = page_query(FILTERS[name], order=order, after=place if later else None, limit=51)
    with full.org(ACME) as session:
        found = list(scans(explain(session, query)))
    assert found
    assert [scan for scan in found if not is_held_to_its_organization(scan)] == []


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("name", FILTERS)
def test_an_idle_organization_reads_past_nobody_elses_rows(full, name, order):
    query = page_query(FILTERS[name], order=order, after=None, limit=51)
    with full.org(IDLE_ORG) as session:
        found = list(scans(explain(session, query)))
        rows = session.execute(query).all()
    assert found
    assert [scan for scan in found if not is_held_to_its_organization(scan)] == []
    own = {"nothing", "all statuses", "label", "before"}
    assert len(rows) == (51 if name in own else 0)


@pytest.mark.parametrize("name", FILTERS)
def test_pages_put_together_are_the_whole_list(full, name):
    wanted = FILTERS[name]
    with full.org(ACME) as session:
        whole = [s.id for s in list_summaries(session, wanted, limit=SEEN)]
        paged, after = [], None
        while len(paged) < SEEN:
            page = list_summaries(session, wanted, after=after, limit=200)
            paged += [s.id for s in page]
            if len(page) < 200:
                break
            after = Position(page[-1].created_at, page[-1].id)
        backwards = list_summaries(session, wanted, order=Order.OLDEST, limit=SEEN)
    assert paged == whole[:SEEN]
    assert len(set(paged)) == len(paged)
    oldest = [s.id for s in backwards]
    assert oldest == sorted(oldest)
    assert len(oldest) == len(paged)
    assert len(whole) == SEEN or oldest == whole[::-1]
    assert bool(whole) == (name != "no such status")


def test_a_total_is_estimated_by_the_organizations_own_share(full):
    with full.org(ACME) as session:
        total = count_executions(session, ExecutionFilter())
    assert total.is_estimate
    # A third of all rows; an average organization has one in forty-two.
    assert OWN / 2 < total.count < OWN * 2


def test_totals_of_labels_are_counted(full):
    with full.org(ACME) as session:
        for name in ("label", "two labels", "label and range", "label and status"):
            shown = len(list_summaries(session, FILTERS[name], limit=OWN))
            assert count_executions(session, FILTERS[name]).count == shown > 0


def test_totals_are_counted_and_above_ten_thousand_estimated(full):
    with full.org(ACME) as session:
        everything = count_executions(session, ExecutionFilter())
        paused = count_executions(session, FILTERS["rare status"])
        shown = len(list_summaries(session, FILTERS["rare status"], limit=OWN))
    assert everything.is_estimate
    assert everything.count > EXACT_UP_TO
    assert (paused.count, paused.is_estimate) == (shown, False)


def test_another_organizations_executions_are_not_counted(full):
    with full.org(GLOBEX) as session:
        assert count_executions(session, ExecutionFilter()).count == 0
        assert list_summaries(session, ExecutionFilter(), limit=10) == []
