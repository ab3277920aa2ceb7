"""What all event streams of a process share hears of every commit, whenever it comes."""

import asyncio
import time
from contextlib import aclosing

from api.event_stream import EventHub
from domain.catalog import Workflow
from domain.ids import OrgId
from persistence.notifications import ExecutionEvent
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import queue, simple_workflow

LATE_S = 0.5
# Well below the time after which the table is looked at without any news.
SOON_S = 8


class Overtaken(EventHub):
    """Reads as the hub does; but another execution is committed while the first answer is read."""

    workflow: Workflow
    is_first = True

    def _list(self, org_id: OrgId, after: int) -> list[ExecutionEvent]:
        events = super()._list(org_id, after)
        if events and self.is_first:
            self.is_first = False
            queue(self._database, org_id, self.workflow)
            time.sleep(LATE_S)
        return events


async def test_a_commit_during_a_read_is_heard_of_at_once(database: Database):
    hub = Overtaken(database, on_count=lambda _: None)
    hub.workflow = simple_workflow(database, ACME)
    async with aclosing(hub.follow(ACME, 0, tick_s=0.2)) as batches, asyncio.timeout(SOON_S):
        await anext(batches)
        await asyncio.to_thread(queue, database, ACME, hub.workflow)
        heard: list[int] = []
        while len(heard) < 2:
            heard += [event.seq for event in await anext(batches)]
    assert heard == [1, 2]
