"""Schedules are paused and resumed by people here, and as it is done in Prefect."""

import pytest

from domain.catalog import PausedBy, Schedule
from domain.ids import ScheduleId
from persistence.audit import list_audit
from persistence.schedules import (
    ScheduleHeldInPrefect,
    ScheduleNotFound,
    add_schedule,
    list_schedule_timezones,
    pause_schedule,
    remove_schedule,
    resume_schedule,
)
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import simple_workflow


@pytest.fixture
def schedule(database: Database) -> Schedule:
    workflow = simple_workflow(database, ACME)
    with database.org(ACME, user_id=ADMIN) as session:
        return add_schedule(
            session, workflow.id, cron="0 9 * * *", timezone="Europe/Berlin", input_data={}
        )


def actions(database: Database, schedule: Schedule) -> list[str]:
    with database.org(ACME) as session:
        entries = list_audit(session)
    return [each.entry.action for each in entries if each.entry.resource_id == schedule.id]


def test_a_schedule_is_paused_and_resumed_once_each_with_an_audit_entry(
    database: Database, schedule: Schedule
):
    for _ in range(2):
        with database.org(ACME, user_id=ADMIN) as session:
            paused = pause_schedule(session, schedule.id)
    assert (paused.paused_by, bool(paused.paused_at)) == (ADMIN, True)
    with database.for_platform() as session:
        assert list_schedule_timezones(session) == []
    for _ in range(2):
        with database.org(ACME, user_id=ADMIN) as session:
            assert resume_schedule(session, schedule.id).paused_at is None
    found = sorted(actions(database, schedule))
    assert found == ["schedule.created", "schedule.paused", "schedule.resumed"]


def test_what_the_deployment_holds_back_in_prefect_only_prefect_lets_go(
    database: Database, schedule: Schedule
):
    with database.org(ACME) as session:
        pause_schedule(session, schedule.id, by=PausedBy.PREFECT_DEPLOYMENT)
    with pytest.raises(ScheduleHeldInPrefect), database.org(ACME, user_id=ADMIN) as session:
        resume_schedule(session, schedule.id)
    with database.org(ACME) as session:
        assert resume_schedule(session, schedule.id, by_prefect=True).paused_at is None


def test_another_organizations_schedule_and_a_removed_one_do_not_exist(
    database: Database, schedule: Schedule
):
    with pytest.raises(ScheduleNotFound), database.org(GLOBEX) as session:
        pause_schedule(session, schedule.id)
    with database.org(ACME) as session:
        remove_schedule(session, schedule.id)
    for act in (pause_schedule, resume_schedule):
        with pytest.raises(ScheduleNotFound), database.org(ACME) as session:
            act(session, ScheduleId(schedule.id))
