"""What is to be published to Prefect: noted by whoever changes it, each workflow on its own."""

from sqlalchemy import Connection, text

from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.ids import WorkflowId
from domain.limits import WorkflowLimits
from persistence.execution_moves import finish_executions
from persistence.limits import set_workflow_limits
from persistence.publishing import (
    Publication,
    list_due,
    list_published_page,
    list_refused,
    note_invalid,
    note_published,
    note_refused,
    read_progress,
)
from persistence.queue import claim_run
from persistence.schedules import add_schedule, remove_schedule
from persistence.sessions import Database
from persistence.workflows import set_published
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import ending, queue, simple_workflow


def due(database: Database, *, most: int = 100) -> list[Publication]:
    with database.for_platform() as session:
        return list_due(session, most=most)


def ids(found: list[Publication]) -> list[WorkflowId]:
    return [each.workflow.id for each in found]


def publish(database: Database) -> None:
    """Note everything that is due as published."""
    for each in due(database):
        with database.for_platform() as session:
            note_published(session, each)


def test_what_changes_of_a_workflow_is_due_and_what_counts_its_executions_is_not(
    database: Database,
):
    workflow = simple_workflow(database, ACME)
    assert ids(due(database)) == [workflow.id]
    publish(database)
    execution = queue(database, ACME, workflow)
    with database.for_platform() as session:
        assert claim_run(session, worker="w", lease_s=60) is not None
    with database.org(ACME, user_id=ADMIN) as session:
        set_workflow_limits(session, workflow.id, WorkflowLimits(max_running=3))
        finish_executions(
            session, [ending(execution)], at=utc_now(), started_at=utc_now(), state=None
        )
    assert due(database) == []
    with database.org(ACME, user_id=ADMIN) as session:
        schedule = add_schedule(
            session, workflow.id, cron="0 9 * * *", timezone="UTC", input_data={}
        )
    (found,) = due(database)
    assert [each.id for each in found.schedules] == [schedule.id]
    publish(database)
    with database.org(ACME, user_id=ADMIN) as session:
        remove_schedule(session, schedule.id)
    assert [list(each.schedules) for each in due(database)] == [[]]


def test_organizations_are_published_in_turn(database: Database):
    many = [simple_workflow(database, ACME, name=f"W {number}").id for number in range(5)]
    one = simple_workflow(database, GLOBEX).id
    assert set(ids(due(database, most=2))) == {many[0], one}


def test_who_is_refused_is_tried_later_and_later_and_keeps_nobody_waiting(database: Database):
    bad = simple_workflow(database, ACME)
    simple_workflow(database, GLOBEX)
    pauses: list[float] = []
    for _ in range(4):
        with database.for_platform() as session:
            session.execute(
                text("update publications set due_at = now() where org_id = 'org_acme'")
            )
        (refused,) = (each for each in due(database) if each.workflow.id == bad.id)
        with database.for_platform() as session:
            note_refused(
                session, refused, code=ErrorCode.PREFECT_REFUSED, message="Prefect answered 422."
            )
            pause = "select extract(epoch from due_at - now())::float from publications where"
            pauses.append(session.execute(text(f"{pause} org_id = 'org_acme'")).scalar_one())
    assert [round(pause) for pause in pauses] == [1, 2, 4, 8]
    assert [each.workflow.org_id for each in due(database)] == [GLOBEX]
    with database.org(GLOBEX) as session:
        assert list_refused(session) == []
    with database.for_platform() as session:
        assert [(each.workflow_id, each.tries) for each in list_refused(session)] == [(bad.id, 4)]
        assert (read_progress(session).waiting, read_progress(session).refused) == (2, 1)


def test_what_is_changed_while_it_is_published_is_published_again(database: Database):
    workflow = simple_workflow(database, ACME)
    (under_way,) = due(database)
    with database.org(ACME, user_id=ADMIN) as session:
        add_schedule(session, workflow.id, cron="0 9 * * *", timezone="UTC", input_data={})
    with database.for_platform() as session:
        note_published(session, under_way)
    assert ids(due(database)) == [workflow.id]


def test_a_workflow_with_a_schedule_that_fires_nowhere_is_shown_and_not_tried_again(
    database: Database, superuser: Connection
):
    workflow = simple_workflow(database, ACME)
    (found,) = due(database)
    with database.for_platform() as session:
        set_published(
            session,
            workflow.id,
            deployment_id="0c8a4f0e-7d1e-4f9b-8a55-0d6cf5a6e001",  # type: ignore[arg-type]
            published={},
        )
        note_invalid(session, found, code=ErrorCode.SCHEDULE_INVALID, message="It never fires.")
    assert due(database) == []
    with database.for_platform() as session:
        assert [each.message for each in list_refused(session)] == ["It never fires."]
        # It is published all the same, and compared with Prefect's deployment as any other.
        assert ids(list_published_page(session, after=None, most=10)) == [workflow.id]
