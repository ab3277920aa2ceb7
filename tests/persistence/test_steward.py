"""What the steward keeps in the database: the lead, its row, the log, and its table checks."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from domain.clock import utc_now
from domain.drift import Drift, DriftKind
from domain.executions import ExecutionStatus
from flows.table_drift import find_table_drift, repair_table
from persistence.audit import list_audit, verify_audit
from persistence.drift_log import Repair, add_repairs, list_repairs, prune_repairs
from persistence.execution_moves import finish_executions
from persistence.leadership import Leadership
from persistence.steward_status import LeadershipLost, RoundReport, note_round, read_status
from persistence.workflows import get_workflow
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import ending, queue, simple_workflow

REPORT = RoundReport(
    seconds=0.5,
    check_seconds=0.25,
    found={"state_behind": 2},
    repaired={"state_behind": 1},
    left_over={"status_mismatch": 1},
    lost_workers=1,
    troubles={},
)
DRIFT = Drift(kind=DriftKind.STATE_BEHIND, org_id=ACME, subject="run_1", here="a", there="b")


@pytest.fixture
def as_superuser(cluster, database_url):
    """Run statements that no role of ours may, as somebody with the disk in their hands would."""

    def run(*statements: str) -> None:
        engine = create_engine(cluster.as_superuser(database_url), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("set local session_replication_role = replica"))
            for statement in statements:
                connection.execute(text(statement))

    return run


def finish(database, execution, status=ExecutionStatus.COMPLETED) -> None:
    with database.org(ACME) as session:
        finish_executions(
            session, [ending(execution, status)], at=utc_now(), started_at=None, state=None
        )


def three_ended(database):
    workflow = simple_workflow(database, ACME)
    for status in (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED, ExecutionStatus.COMPLETED):
        finish(database, queue(database, ACME, workflow), status)
    return workflow


def test_of_two_stewards_one_leads_and_the_other_follows_when_it_stops(database):
    first, second = (Leadership(database.platform, name=n) for n in ("one", "two"))
    assert first.hold()
    assert not second.hold()
    assert first.hold()
    first.release()
    assert second.hold()
    assert second.epoch == first.epoch + 1
    second.release()


def test_a_leader_that_is_silent_too_long_loses_the_lead_and_can_note_nothing(database):
    first = Leadership(database.platform, name="frozen", silence_s=1)
    second = Leadership(database.platform, name="next", silence_s=60)
    assert first.hold()
    give_up_at = time.monotonic() + 60
    while not second.hold():
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
    with pytest.raises(LeadershipLost), database.for_platform() as session:
        note_round(session, epoch=first.epoch, report=REPORT)
    assert not first.hold()
    with database.for_platform() as session:
        note_round(session, epoch=second.epoch, report=REPORT)
    second.release()


def test_a_lead_whose_connection_broke_is_taken_again(database, as_superuser):
    leadership = Leadership(database.platform, name="one")
    assert leadership.hold()
    as_superuser(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    give_up_at = time.monotonic() + 30
    while not leadership.hold():
        assert time.monotonic() < give_up_at
    assert leadership.epoch == 2
    leadership.release()


def test_rounds_add_up_in_the_stewards_row(database):
    leadership = Leadership(database.platform, name="one")
    assert leadership.hold()
    for _ in range(2):
        with database.for_platform() as session:
            note_round(session, epoch=leadership.epoch, report=REPORT)
    with database.for_platform() as session:
        status = read_status(session)
    assert status.leader == "one"
    assert (status.found, status.repaired) == ({"state_behind": 4}, {"state_behind": 2})
    assert (status.left_over, status.lost_workers) == ({"status_mismatch": 1}, 2)
    assert status.checked_at is not None
    leadership.release()


def test_the_log_of_repairs_is_kept_until_it_is_old(database):
    with database.for_platform() as session:
        add_repairs(session, [Repair(DRIFT, "mirrored", True)] * 3)
    with database.for_platform() as session:
        assert [each.repair for each in list_repairs(session, limit=2)] == [
            Repair(DRIFT, "mirrored", True)
        ] * 2
        assert prune_repairs(session, before=utc_now() - timedelta(hours=1)) == 0
        assert prune_repairs(session, before=utc_now() + timedelta(hours=1), limit=2) == 2
        assert len(list_repairs(session, limit=9)) == 1


def test_tables_that_fit_show_no_drift(database):
    three_ended(database)
    assert find_table_drift(database, since=None) == []
    assert find_table_drift(database, since=utc_now() - timedelta(hours=1)) == []


def test_wrong_counters_are_found_and_counted_again(database, as_superuser):
    workflow = three_ended(database)
    as_superuser("update workflows set execution_count = 9, success_count = 9, cancelled_count = 0")
    (found,) = find_table_drift(database, since=None)
    assert (found.kind, found.org_id, found.subject) == (
        DriftKind.COUNTERS_OFF,
        ACME,
        workflow.id,
    )
    assert repair_table(database, found).is_repaired
    with database.org(ACME) as session:
        counted = get_workflow(session, workflow.id)
    assert (counted.execution_count, counted.success_count, counted.cancelled_count) == (3, 2, 1)
    assert find_table_drift(database, since=None) == []


@pytest.mark.parametrize("whole", [True, False], ids=["looking at all", "looking at recent ones"])
def test_an_end_without_its_entry_gets_one_that_says_when_it_was_added(
    database, as_superuser, whole
):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    finish(database, execution)
    as_superuser(
        "delete from audit_logs where action = 'workflow.executed'",
        "update audit_heads h set (seq, hash) = (select seq, hash from audit_logs a "
        "where a.org_id = h.org_id order by seq desc limit 1)",
    )
    since = None if whole else utc_now() - timedelta(minutes=5)
    (found,) = find_table_drift(database, since=since)
    assert (found.kind, found.subject) == (DriftKind.AUDIT_MISSING, execution.id)
    for _ in range(2):
        assert repair_table(database, found).is_repaired
    assert find_table_drift(database, since=since) == []
    with database.org(ACME, snapshot=True) as session:
        entries = list_audit(session, resource_id=execution.id)
        assert verify_audit(session).ok
    assert [e.entry.action for e in entries] == ["workflow.executed", "execution.created"]
    assert entries[0].entry.details == {
        "execution_id": execution.id,
        "status": "COMPLETED",
        "added_by": "drift check",
    }


def test_an_end_with_another_entry_is_left_to_a_person(database, as_superuser):
    execution = queue(database, ACME, simple_workflow(database, ACME))
    finish(database, execution)
    as_superuser(
        'update audit_logs set details = \'{"status": "FAILED"}\''
        " where action = 'workflow.executed'"
    )
    (found,) = find_table_drift(database, since=None)
    assert found.kind is DriftKind.AUDIT_REPEATED
    assert not repair_table(database, found).is_repaired


def test_drift_of_one_organization_is_not_shown_to_another(database):
    with database.for_platform() as session:
        add_repairs(session, [Repair(DRIFT, "mirrored", True)])
    with database.org(GLOBEX) as session:
        assert session.execute(text("select * from drift_log")).all() == []
    with database.org(ACME) as session:
        assert len(session.execute(text("select * from drift_log")).all()) == 1
