"""An execution's end stands on its workflow in the audit trail, beside those of the older form."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from domain.audit import AuditEntry, entry_hash
from domain.clock import utc_now
from domain.drift import DriftKind
from domain.execution_ends import END_ACTIONS, EXECUTED
from domain.executions import CANCELLED, ExecutionStatus
from domain.ids import new_audit_id, new_execution_id
from persistence.audit import list_audit, verify_audit
from persistence.audit_lists import AuditFilter, list_audit_page
from persistence.execution_moves import FinishedExecution, finish_executions
from persistence.sessions import Database
from persistence.table_checks import add_missing_end, find_audit_drift
from tests.support.databases import ACME, ADMIN
from tests.support.factories import ending, queue, simple_workflow

OLD = "exec_old"


def ended_as(status: ExecutionStatus, execution) -> FinishedExecution:
    return FinishedExecution(
        id=execution.id, status=status, error=CANCELLED, agent_results={}, execution_graph={}
    )


def add_as_before(database: Database, action: str, execution_id: str) -> None:
    """Append an entry as code of format 1 did, which knew neither of the new columns."""
    entry = AuditEntry(
        action=action,
        resource_type="execution",
        resource_id=execution_id,
        success=action == "execution.completed",
        timestamp=utc_now(),
        user_id=ADMIN,
    )
    with database.org(ACME) as session:
        head = session.execute(text("select seq, hash from audit_heads for update")).one()
        place = {"id": new_audit_id(), "org_id": ACME, "seq": head.seq + 1, "prev_hash": head.hash}
        sealed = entry_hash(session.info["audit_key"], **place, entry=entry, format=1)
        session.execute(
            text(
                "insert into audit_logs (id, org_id, user_id, action, resource_type, resource_id,"
                " details, success, timestamp, seq, prev_hash, hash) values (:id, :org_id, :user,"
                " :action, 'execution', :resource, '{}', :success, :at, :seq, :prev_hash, :hash)"
            ),
            place
            | {"user": ADMIN, "action": action, "resource": execution_id, "hash": sealed}
            | {"success": entry.success, "at": entry.timestamp},
        )
        session.execute(
            text("update audit_heads set seq = :seq, hash = :hash"),
            {"seq": head.seq + 1, "hash": sealed},
        )


@pytest.fixture
def ended(database):
    """One execution of each end, in the new form, and an end of each kind in the old one."""
    workflow = simple_workflow(database, ACME)
    completed, broken, called_off = (queue(database, ACME, workflow) for _ in range(3))
    with database.org(ACME) as session:
        items = [
            ending(completed),
            ended_as(ExecutionStatus.FAILED, broken),
            ended_as(ExecutionStatus.CANCELLED, called_off),
        ]
        finish_executions(session, items, at=utc_now(), started_at=None, state=None)
    for action in sorted(END_ACTIONS):
        add_as_before(database, action, f"{OLD}_{action.split('.')[1]}")
    return workflow, [completed.id, broken.id, called_off.id]


def found(database: Database, **wanted: str) -> set[str | None]:
    with database.org(ACME) as session:
        page = list_audit_page(session, AuditFilter(**wanted))
    return {item.entry.execution_id or item.entry.resource_id for item in page}


def test_a_workflows_entries_show_who_had_it_executed_and_how_that_went(database, ended):
    workflow, ids = ended
    with database.org(ACME) as session:
        rows = session.execute(
            text(
                "select details ->> 'execution_id' as id, success, user_id, execution_id"
                " from audit_logs where resource_id = :id and action = 'workflow.executed'"
            ),
            {"id": workflow.id},
        ).all()
    assert {(row.id, row.success, row.user_id) for row in rows} == {
        (id, id == ids[0], ADMIN) for id in ids
    }
    assert len(rows) == 3
    assert all(row.id == row.execution_id for row in rows)


def test_an_old_action_finds_the_ends_of_both_forms(database, ended):
    _, (completed, broken, called_off) = ended
    assert found(database, action="execution.completed") == {completed, f"{OLD}_completed"}
    assert found(database, action="execution.failed") == {broken, f"{OLD}_failed"}
    assert found(database, action="execution.cancelled") == {called_off, f"{OLD}_cancelled"}


def test_the_new_action_and_the_old_resource_type_find_the_ends_of_both_forms(database, ended):
    _, ids = ended
    everything = {*ids, f"{OLD}_completed", f"{OLD}_failed", f"{OLD}_cancelled"}
    assert found(database, action=EXECUTED) == everything
    assert found(database, action="execution.failed", resource_type="execution") == {
        ids[1],
        f"{OLD}_failed",
    }


def test_an_executions_id_finds_its_end_in_either_form(database, ended):
    _, ids = ended
    with database.org(ACME) as session:
        new = [item.entry.action for item in list_audit(session, resource_id=ids[1])]
        old = [item.entry.action for item in list_audit(session, resource_id=f"{OLD}_failed")]
        none = list_audit(session, resource_id=new_execution_id())
    assert new == [EXECUTED, "execution.created"]
    assert old == ["execution.failed"]
    assert none == []


def test_a_chain_of_both_formats_verifies(database, ended):
    with database.org(ACME, snapshot=True) as session:
        formats = {item.format for item in list_audit(session)}
        verified = verify_audit(session)
    assert formats == {1, 2}
    assert verified.ok


@pytest.mark.parametrize("whole", [True, False], ids=["looking at all", "looking at recent ones"])
def test_drift_takes_one_end_in_either_form_and_not_one_in_each(database, ended, whole):
    workflow, ids = ended
    since = None if whole else utc_now() - timedelta(minutes=5)
    older = queue(database, ACME, workflow)
    with database.org(ACME) as session:
        session.execute(
            text(
                "update executions set status = 'FAILED', completed_at = clock_timestamp(),"
                " error = 'It did not work.', error_code = 'agent.failed',"
                " error_hint = 'Try again.'"
                " where id = :id"
            ),
            {"id": older.id},
        )
        (missing,) = find_audit_drift(session, since=since)
    assert (missing.kind, missing.subject) == (DriftKind.AUDIT_MISSING, older.id)
    add_as_before(database, "execution.failed", older.id)
    with database.org(ACME) as session:
        assert find_audit_drift(session, since=since) == []
        assert not add_missing_end(session, older.id)
        assert not add_missing_end(session, ids[0])
    add_as_before(database, "execution.completed", ids[0])
    with database.org(ACME) as session:
        (repeated,) = find_audit_drift(session, since=since)
    assert (repeated.kind, repeated.subject) == (DriftKind.AUDIT_REPEATED, ids[0])


def test_a_look_at_what_moved_of_late_reads_none_of_the_trail_but_that(
    database: Database, superuser: Connection
):
    workflow = simple_workflow(database, ACME)
    execution = queue(database, ACME, workflow)
    superuser.execute(
        text(
            "insert into audit_logs (id, org_id, action, resource_type, resource_id, details,"
            " success, timestamp, seq, prev_hash, hash, execution_id, format) select"
            " 'audit_' || n, :org, :action, 'workflow', :workflow, '{}', true, now(), 1000 + n,"
            " 'a', 'b', 'exec_' || n, 2 from generate_series(1, 5000) n"
        ),
        {"org": ACME, "action": EXECUTED, "workflow": workflow.id},
    )
    superuser.execute(text("vacuum analyze"))
    with database.org(ACME, user_id=ADMIN) as session:
        finish_executions(
            session, [ending(execution)], at=utc_now(), started_at=utc_now(), state=None
        )
    read = text(
        "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
        " where relname = 'audit_logs'"
    )
    before = superuser.execute(read).scalar_one()
    with database.org(ACME) as session:
        assert find_audit_drift(session, since=utc_now() - timedelta(minutes=1)) == []
        session.execute(text("select pg_stat_force_next_flush()"))
    assert superuser.execute(read).scalar_one() - before < 100
