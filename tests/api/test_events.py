"""Live events: each organization's own, once and in order, whoever else listens or does not."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from domain.executions import ExecutionStatus
from domain.ids import OrgId
from persistence.execution_moves import finish_executions
from persistence.notifications import list_events, prune_events
from tests.api.conftest import Api
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import ending, queue, simple_workflow


class Stream:
    """An open event stream, read one event at a time."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> dict:
        """Wait for the next event; heartbeats are passed over."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line == "" and fields:
                return {**fields, "data": json.loads(fields["data"])}
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        raise EOFError

    def take(self, count: int) -> list[dict]:
        return [self.next() for _ in range(count)]


@contextmanager
def listening(api: Api, org_id: OrgId = ACME, *, after: int | None = None) -> Iterator[Stream]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with (
        api.client(org_id=org_id) as client,
        client.stream("GET", "/events", headers=headers, timeout=20) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        assert stream.next()["event"] == "ready"
        yield stream


def run_one(api: Api, workflow, *, org_id: OrgId = ACME) -> str:
    """Queue an execution and end it: two events."""
    execution = queue(api.database, org_id, workflow)
    with api.database.org(org_id) as session:
        finish_executions(
            session, [ending(execution)], at=datetime.now(UTC), started_at=None, state=None
        )
    return execution.id


def wait_until(holds, *, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def open_connections(api: Api) -> int:
    query = text("select count(*) from pg_stat_activity where application_name = 'tenantry-events'")
    with api.database.for_platform() as session:
        return int(session.scalar(query) or 0)


def test_an_execution_is_heard_of_from_its_beginning_to_its_end(api: Api):
    workflow = simple_workflow(api.database, ACME)
    with listening(api) as stream:
        execution_id = run_one(api, workflow)
        first, last = stream.take(2)
    assert [first["event"], last["event"]] == ["execution", "execution"]
    assert [first["data"]["status"], last["data"]["status"]] == ["PENDING", "COMPLETED"]
    assert {first["data"]["execution_id"], last["data"]["execution_id"]} == {execution_id}
    assert first["data"]["workflow_id"] == workflow.id
    assert first["data"]["at"].endswith("Z")
    assert int(last["id"]) == int(first["id"]) + 1


def test_a_stream_that_resumes_misses_nothing_and_repeats_nothing(api: Api):
    workflow = simple_workflow(api.database, ACME)
    with listening(api) as stream:
        run_one(api, workflow)
        seen = stream.take(2)
    for _ in range(3):
        run_one(api, workflow)
    with listening(api, after=int(seen[0]["id"])) as stream:
        ids = [int(event["id"]) for event in stream.take(7)]
        run_one(api, workflow)
        ids += [int(event["id"]) for event in stream.take(2)]
    assert ids == list(range(int(seen[1]["id"]), int(seen[1]["id"]) + 9))


def test_a_stream_resumes_in_the_middle_of_a_batch(api: Api, admin: httpx.Client):
    workflow = simple_workflow(api.database, ACME)
    with listening(api) as stream:
        made = admin.post(
            "/executions/bulk?execution_ids=true",
            json={"workflow_id": workflow.id, "inputs": [{"n": n} for n in range(1_200)]},
        ).json()["execution_ids"]
        heard = stream.take(1_200)
    assert [event["data"]["execution_id"] for event in heard] == made
    with listening(api, after=int(heard[699]["id"])) as stream:
        again = stream.take(500)
    assert again == heard[700:]


def test_many_writers_at_once_leave_no_gap_and_no_event_out_of_order(api: Api):
    workflow = simple_workflow(api.database, ACME)
    with listening(api) as stream:
        writers = [
            threading.Thread(target=lambda: [run_one(api, workflow) for _ in range(10)])
            for _ in range(4)
        ]
        for writer in writers:
            writer.start()
        events = stream.take(80)
        for writer in writers:
            writer.join()
    ids = [int(event["id"]) for event in events]
    assert ids == list(range(ids[0], ids[0] + 80))
    by_execution: dict[str, list[str]] = {}
    for event in events:
        by_execution.setdefault(event["data"]["execution_id"], []).append(event["data"]["status"])
    assert list(by_execution.values()) == [["PENDING", "COMPLETED"]] * 40


def test_each_organization_hears_its_own_events_only(api: Api):
    ours, theirs = simple_workflow(api.database, ACME), simple_workflow(api.database, GLOBEX)
    with listening(api) as acme, listening(api, GLOBEX) as globex:
        for _ in range(5):
            run_one(api, theirs, org_id=GLOBEX)
        run_one(api, ours)
        assert {event["data"]["workflow_id"] for event in acme.take(2)} == {ours.id}
        assert {event["data"]["workflow_id"] for event in globex.take(10)} == {theirs.id}


def test_any_number_of_clients_share_one_connection_that_ends_with_the_last(api: Api):
    workflow = simple_workflow(api.database, ACME)
    with listening(api) as one, listening(api) as two, listening(api, GLOBEX):
        execution_id = run_one(api, workflow)
        for stream in (one, two):
            assert {e["data"]["execution_id"] for e in stream.take(2)} == {execution_id}
        assert open_connections(api) == 1
    wait_until(lambda: open_connections(api) == 0)


def test_a_lost_listening_connection_loses_no_event(api: Api, cluster, database_url):
    workflow = simple_workflow(api.database, ACME)
    kill = text(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = 'tenantry-events'"
    )
    with listening(api) as stream:
        run_one(api, workflow)
        stream.take(2)
        with api.database.app.begin() as connection:
            assert connection.execute(kill).scalars().all() == [True]
        execution_id = run_one(api, workflow)
        assert {e["data"]["execution_id"] for e in stream.take(2)} == {execution_id}


def test_a_status_that_is_rolled_back_is_not_heard_of(api: Api):
    workflow = simple_workflow(api.database, ACME)
    execution = queue(api.database, ACME, workflow)

    class Abandoned(Exception):
        pass

    with listening(api) as stream:
        with suppress(Abandoned), api.database.org(ACME) as session:
            end = ending(execution, ExecutionStatus.CANCELLED)
            finish_executions(session, [end], at=datetime.now(UTC), started_at=None, state=None)
            raise Abandoned
        execution_id = run_one(api, workflow)
        assert {e["data"]["execution_id"] for e in stream.take(2)} == {execution_id}


def test_old_events_are_removed_and_a_late_listener_is_told(api: Api):
    workflow = simple_workflow(api.database, ACME)
    for _ in range(3):
        run_one(api, workflow)
    with api.database.for_platform() as session:
        assert prune_events(session, before=datetime.now(UTC) - timedelta(hours=1)) == 0
        assert prune_events(session, before=datetime.now(UTC) + timedelta(hours=1)) == 5
    with api.database.org(ACME) as session:
        assert [event.seq for event in list_events(session, after=0)] == [6]
    run_one(api, workflow)
    with listening(api, after=2) as stream:
        missed, *rest = stream.take(4)
    assert (missed["event"], missed["data"]) == ("missed", {"count": 3})
    assert [event["id"] for event in rest] == ["6", "7", "8"]


@pytest.mark.parametrize("after", ["x", "-1", "1e3", str(2**63)])
def test_a_position_that_is_no_number_is_refused(api: Api, admin: httpx.Client, after: str):
    answer = admin.get("/events", headers={"Last-Event-ID": after})
    assert answer.status_code == 422
