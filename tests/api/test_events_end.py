"""Event streams that end by themselves: `for_s` seconds after they were opened."""

import httpx
import pytest

from domain.permissions import Role
from persistence.notifications import list_events
from tests.api.conftest import Api
from tests.api.test_events import listening, open_connections, run_one, wait_until
from tests.support.databases import ACME
from tests.support.factories import simple_workflow


def events_in(answer: httpx.Response) -> list[tuple[str, str]]:
    """Give the names and ids of a whole stream's events."""
    answer.raise_for_status()
    found = []
    for block in answer.text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line[:1] != ":")
        if fields:
            found.append((fields["event"], fields["id"]))
    return found


def test_a_stream_of_no_seconds_says_that_it_is_ready_and_ends(api: Api, admin: httpx.Client):
    run_one(api, simple_workflow(api.database, ACME))
    answer = admin.get("/events", params={"for_s": 0})
    assert [name for name, _ in events_in(answer)] == ["ready"]
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_stream_of_no_seconds_sends_all_that_lies_behind_the_given_position(
    api: Api, admin: httpx.Client
):
    workflow = simple_workflow(api.database, ACME)
    for _ in range(300):
        run_one(api, workflow)
    # More than one page of the table.
    answer = admin.get("/events", params={"for_s": 0}, headers={"Last-Event-ID": "0"})
    ready, *events = events_in(answer)
    assert ready == ("ready", "0")
    assert events == [("execution", str(number)) for number in range(1, 601)]
    with api.database.org(ACME) as session:
        assert list_events(session, after=600) == []
    # An id from the future is of another database.
    again = admin.get("/events", params={"for_s": 0}, headers={"Last-Event-ID": "999"})
    assert events_in(again) == [("ready", "600")]


def test_a_stream_sends_what_happens_until_its_time_is_over(api: Api, admin: httpx.Client):
    workflow = simple_workflow(api.database, ACME)
    with admin.stream("GET", "/events", params={"for_s": 3}, timeout=30) as response:
        lines = response.iter_lines()
        while not next(lines).startswith("data"):
            pass
        run_one(api, workflow)
        rest = list(lines)
    assert [line for line in rest if line.startswith("event")] == ["event: execution"] * 2
    # Whoever listens besides is not disturbed, and the last one takes the connection along.
    with listening(api) as stream:
        events_in(admin.get("/events", params={"for_s": 0.2}))
        run_one(api, workflow)
        assert len(stream.take(2)) == 2
    wait_until(lambda: open_connections(api) == 0)


@pytest.mark.parametrize("for_s", ["-1", "3601", "nan", "inf", "soon", "null"])
def test_a_length_that_is_no_number_of_seconds_is_refused(
    api: Api, admin: httpx.Client, for_s: str
):
    answer = admin.get("/events", params={"for_s": for_s})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["pointer"] == "/query/for_s"


def test_a_removed_members_stream_is_closed_though_nothing_happens(api: Api, admin: httpx.Client):
    with api.client(Role.VIEWER) as viewer, viewer.stream("GET", "/events", timeout=10) as stream:
        lines = stream.iter_lines()
        while not next(lines).startswith("data"):
            pass
        admin.delete("/members/user_viewer").raise_for_status()
        # By itself it would ping after 15 seconds: the client gives up before.
        rest = list(lines)
    assert [line for line in rest if line.startswith("event")] == ["event: closed"]
    assert [line for line in rest if line.startswith(":")] == []
