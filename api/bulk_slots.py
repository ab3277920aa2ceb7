"""How many bulk requests are read and written at a time: two in a process, one of an organization.

What is read of them is held until it is written. Those that wait are not read meanwhile: the
operating system holds their clients back.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import ClassVar, cast

from fastapi import Request

from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId


class BulkBusy(TenantryError):
    """Too many bulk requests of an organization, or for too long, before this one."""

    code = ErrorCode.REQUEST_TOO_MANY
    retryable = True
    retry_after_s: ClassVar[int] = 5

    def __init__(self) -> None:
        super().__init__(
            "Other bulk requests are served first.",
            hint="Send an organization's bulk requests one after the other, and this one again "
            f"in {self.retry_after_s} s.",
        )


class BulkSlots:
    """Lets bulk requests through, in the order in which they came. Lives in one event loop."""

    def __init__(self, *, places: int = 2, max_waiting_per_org: int = 16, wait_s: float = 60.0):
        self._places, self._wait_s = places, wait_s
        self._max_waiting_per_org = max_waiting_per_org
        self._active: set[OrgId] = set()
        self._waiting: deque[tuple[OrgId, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, org_id: OrgId) -> AsyncGenerator[None]:
        """Wait for a place, and give it back at the end.

        Raises:
            BulkBusy: too many of this organization wait already, or it took too long.
        """
        if Counter(org for org, _ in self._waiting)[org_id] >= self._max_waiting_per_org:
            raise BulkBusy
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((org_id, admitted))
        self._admit()
        try:
            await self._wait(admitted)
            yield
        finally:
            if admitted.done() and not admitted.cancelled():
                self._active.discard(org_id)
            else:
                self._waiting = deque(each for each in self._waiting if each[1] is not admitted)
            self._admit()

    async def _wait(self, admitted: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await admitted
        except TimeoutError:
            raise BulkBusy from None

    def _admit(self) -> None:
        passed: list[tuple[OrgId, asyncio.Future[None]]] = []
        while self._waiting and len(self._active) < self._places:
            org_id, admitted = self._waiting.popleft()
            if admitted.done():
                continue
            if org_id in self._active:
                passed.append((org_id, admitted))
                continue
            self._active.add(org_id)
            admitted.set_result(None)
        self._waiting.extendleft(reversed(passed))


def bulk_slots_of(request: Request) -> BulkSlots:
    """Give the slots of this process."""
    return cast(BulkSlots, request.app.state.bulk_slots)
