"""Event streams of a real service: hundreds of clients, some that come back, some that hang."""

import asyncio
import socket
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from domain.catalog import Workflow
from domain.clock import utc_now
from domain.executions import ExecutionStatus, can_follow
from domain.ids import OrgId
from domain.json_data import JsonObject
from persistence.execution_batches import add_batch
from persistence.execution_moves import FinishedExecution, finish_executions
from persistence.execution_targets import ExecutionWish
from persistence.notifications import get_last_seq
from persistence.sessions import Database
from tests.support.api_process import ApiProcess, api_process
from tests.support.databases import ADMIN
from tests.support.listeners import Heard, Listener, listening
from tests.support.lives import add_tenants, live_through

pytestmark = pytest.mark.processes

ORGS = 20
CLIENTS_PER_ORG = 10
EXECUTIONS = 1_000
PATIENCE_S = 40


@pytest.fixture
def service(database: Database, database_url: URL, tmp_path: Path) -> Iterator[ApiProcess]:
    with api_process(database_url, tmp_path / "api.log", log_level="WARNING") as served:
        yield served


def last_seqs(database: Database, org_ids: list[OrgId]) -> dict[OrgId, int]:
    found: dict[OrgId, int] = {}
    for org_id in org_ids:
        with database.org(org_id) as session:
            found[org_id] = get_last_seq(session)
    return found


def statuses(database: Database, org_id: OrgId) -> dict[str, str]:
    with database.org(org_id) as session:
        rows = session.execute(text("select id, status from executions")).all()
    return {row.id: row.status for row in rows}


def listening_sessions(database: Database) -> int:
    query = text("select count(*) from pg_stat_activity where application_name = 'tenantry-events'")
    with database.for_platform() as session:
        return int(session.scalar(query) or 0)


async def hear_with_pauses(listener: Listener, pauses: int) -> None:
    """Hear for ever; a client that pauses leaves now and then, and resumes where it was."""
    for number in range(1, pauses + 1):
        await listener.hear(25 * number)
        await listener.close()
        await asyncio.sleep(0.05 * number)
        await listener.open()
    await listener.hear(10**9)


async def until(holds, *, timeout_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.02)


def lives_of(heard: list[Heard]) -> dict[str, list[str]]:
    lives: dict[str, list[str]] = defaultdict(list)
    for event in heard:
        lives[event.execution_id].append(event.status)
    return lives


async def test_each_of_200_clients_hears_all_of_its_own_once_and_in_order(
    database: Database, service: ApiProcess
):
    tenants = add_tenants(database, ORGS)
    clients = {
        org_id: [Listener(service.port, token) for _ in range(CLIENTS_PER_ORG)]
        for org_id, (_, token) in tenants.items()
    }
    everybody = [client for own in clients.values() for client in own]
    async with listening(everybody):
        # Of each organization's ten, two come and go.
        hearing = [
            asyncio.create_task(hear_with_pauses(client, pauses=number if number < 3 else 0))
            for own in clients.values()
            for number, client in enumerate(own)
        ]
        assert listening_sessions(database) == 1
        await asyncio.to_thread(
            live_through,
            database,
            [(org_id, workflow) for org_id, (workflow, _) in tenants.items()],
            executions=EXECUTIONS // ORGS,
        )
        last = last_seqs(database, list(tenants))
        await until(lambda: all(c.position >= last[o] for o, own in clients.items() for c in own))
        for task in hearing:
            task.cancel()
        ended = await asyncio.gather(*hearing, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
    assert sum(last.values()) > 2.5 * EXECUTIONS
    for org_id, own in clients.items():
        expected = statuses(database, org_id)
        for client in own:
            assert [event.seq for event in client.heard] == list(range(1, last[org_id] + 1))
            assert client.others == []
            lives = lives_of(client.heard)
            assert {id: life[-1] for id, life in lives.items()} == expected
            for life in lives.values():
                steps = [ExecutionStatus(status) for status in life]
                assert steps[0] is ExecutionStatus.PENDING
                assert all(can_follow(one, next_one) for one, next_one in pairwise(steps))
    assert [line for line in service.log_lines() if line["level"] != "INFO"] == []


FLOOD = 1_000
STUCK = 10


@contextmanager
def not_reading(
    served: ApiProcess, token: str, count: int, *, window: int = 1
) -> Iterator[list[socket.socket]]:
    """Open streams that nobody reads yet; the smallest window that there is, is above a KiB."""
    ask = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    with ExitStack() as open_links:
        links = [open_links.enter_context(closing(socket.socket())) for _ in range(count)]
        for link in links:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            link.connect(("127.0.0.1", served.port))
            link.sendall(ask.encode())
        yield links


async def read_slowly(link: socket.socket) -> None:
    link.setblocking(False)
    while await asyncio.get_running_loop().sock_recv(link, 4096):
        await asyncio.sleep(0.25)


def flood(database: Database, org_id: OrgId, workflow: Workflow) -> None:
    wish = ExecutionWish(workflow=workflow.id, labels={})
    inputs: list[JsonObject] = [{"text": "find leads"}] * FLOOD
    with database.org(org_id, user_id=ADMIN) as session:
        ids = add_batch(session, wish, inputs, batch_id="batch_flood")
    ends = [
        FinishedExecution(
            id=id, status=ExecutionStatus.COMPLETED, agent_results={}, execution_graph={}
        )
        for id in ids
    ]
    with database.org(org_id) as session:
        finish_executions(session, ends, at=utc_now(), started_at=None, state=None)


async def until_heard(database: Database, org_id: OrgId, listeners: list[Listener]) -> None:
    last = last_seqs(database, [org_id])[org_id]
    await until(lambda: all(listener.position == last for listener in listeners))


async def median_delay(
    database: Database, listeners: list[Listener], org_id: OrgId, workflow: Workflow
) -> float:
    """Let an organization live for a while; return its listeners' median delay in that time."""
    before = [len(listener.heard) for listener in listeners]
    await asyncio.to_thread(live_through, database, [(org_id, workflow)], executions=50, threads=2)
    await until_heard(database, org_id, listeners)
    return statistics.median(
        event.delay_s
        for listener, start in zip(listeners, before, strict=True)
        for event in listener.heard[start:]
    )


async def test_clients_that_stop_reading_are_dropped_and_others_notice_nothing(
    database: Database, database_url: URL, tmp_path: Path
):
    tenants = add_tenants(database, 2)
    (ours, (workflow, token)), (theirs, (other_workflow, other_token)) = tenants.items()
    with api_process(database_url, tmp_path / "api.log", api_stall_timeout_s=4) as served:
        readers = [Listener(served.port, token) for _ in range(5)]
        others = [Listener(served.port, other_token) for _ in range(5)]
        async with listening([*readers, *others]), asyncio.TaskGroup() as group:
            hearing = [group.create_task(each.hear(10**9)) for each in [*readers, *others]]
            alone = await median_delay(database, readers, ours, workflow)
            memory = served.rss_bytes()
            with (
                # Some of them have too little to read for it to fill any buffer of ours.
                not_reading(served, token, STUCK),
                not_reading(served, other_token, STUCK),
                not_reading(served, token, 1, window=16 * 1024) as slow,
            ):
                await until(lambda: served.open_connections() == 2 * STUCK + 11)
                await median_delay(database, others, theirs, other_workflow)
                await asyncio.to_thread(flood, database, ours, workflow)
                hearing += [group.create_task(read_slowly(slow[0]))]
                await until_heard(database, ours, readers)
                assert served.open_connections() == 2 * STUCK + 11
                beside = await median_delay(database, readers, ours, workflow)
                per_client = (served.rss_bytes() - memory) / (2 * STUCK)
                await until(lambda: served.open_connections() == 11)
                # The one that reads, if slowly, stays.
                await median_delay(database, readers, ours, workflow)
                assert served.open_connections() == 11
            for task in hearing:
                task.cancel()
        for listener in [*readers, *others]:
            seqs = [event.seq for event in listener.heard]
            assert seqs == list(range(1, len(seqs) + 1))
        assert beside < 10 * alone
        assert per_client < 1024 * 1024
        assert {line["level"] for line in served.log_lines()} == {"INFO"}
