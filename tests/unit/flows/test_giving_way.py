"""Rows of large runs wait while small ones are being started, and not for ever."""

import asyncio

from domain.ids import RunId
from flows.giving_way import give_way, note_started, note_starting

LARGE, SMALL = 500, 1
ONE, TWO = RunId("run_one"), RunId("run_two")


async def waits(size: int) -> bool:
    """Say whether somebody who works on so many rows waits now."""
    task = asyncio.create_task(give_way(size))
    await asyncio.sleep(0.01)
    if task.done():
        return False
    task.cancel()
    return True


def test_only_large_ones_wait_and_only_for_small_ones_that_are_being_started():
    async def play() -> None:
        assert not await waits(LARGE)
        note_starting(ONE, LARGE)
        assert not await waits(LARGE)
        note_starting(ONE, SMALL)
        note_starting(TWO, SMALL)
        assert await waits(LARGE)
        assert not await waits(SMALL)
        note_started(ONE)
        assert await waits(LARGE)
        note_started(TWO)
        note_started(TWO)
        assert not await waits(LARGE)

    asyncio.run(play())


def test_who_waits_goes_on_when_the_last_one_has_started():
    async def play() -> None:
        note_starting(ONE, SMALL)
        waiting = asyncio.create_task(give_way(LARGE))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        note_started(ONE)
        await asyncio.wait_for(waiting, timeout=10)

    asyncio.run(play())


def test_one_that_never_starts_is_not_waited_for_for_ever():
    async def play() -> None:
        note_starting(ONE, SMALL)
        try:
            await asyncio.wait_for(give_way(LARGE), timeout=10)
        finally:
            note_started(ONE)

    asyncio.run(play())
