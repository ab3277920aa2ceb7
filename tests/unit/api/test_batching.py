"""Who asks at the same time is answered together, and nobody is left waiting."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest

from api.batching import Together


class Slow:
    """Answers with ten times what it is asked; the first turn waits until it is told to go on."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, list[int]]] = []
        self.go_on = threading.Event()

    def work(self, line: str, items: Sequence[int]) -> list[int | Exception]:
        self.turns.append((line, list(items)))
        assert self.go_on.wait(30)
        if 13 in items and len(items) == 1:
            raise ValueError(line)
        return [LookupError(str(item)) if item < 0 else item * 10 for item in items]


@pytest.fixture
def slow() -> Slow:
    return Slow()


async def ask_all(slow: Slow, *asked: tuple[str, int], most: int = 64) -> list[object]:
    """Ask one first; when it is being worked on, all the others."""
    together = Together[str, int, int](slow.work, name="test", most=most)
    first = asyncio.create_task(together.ask(*asked[0]))
    while not slow.turns:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(together.ask(*each)) for each in asked[1:]]
    await asyncio.sleep(0)
    slow.go_on.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


async def test_who_comes_while_another_is_answered_goes_along_in_the_next_turn(slow: Slow):
    assert await ask_all(slow, ("a", 1), ("a", 2), ("a", 3)) == [10, 20, 30]
    assert slow.turns == [("a", [1]), ("a", [2, 3])]


async def test_a_turn_takes_no_more_than_it_may(slow: Slow):
    assert await ask_all(slow, *(("a", n) for n in range(6)), most=2) == [0, 10, 20, 30, 40, 50]
    assert [len(items) for _, items in slow.turns] == [1, 2, 2, 1]


async def test_another_line_does_not_wait(slow: Slow):
    together = Together[str, int, int](slow.work, name="test")
    tasks = [asyncio.create_task(together.ask(line, 1)) for line in "ab"]
    while len(slow.turns) < 2:
        await asyncio.sleep(0.001)
    slow.go_on.set()
    assert await asyncio.gather(*tasks) == [10, 10]


async def test_a_refusal_reaches_its_own_asker_only(slow: Slow):
    answers = await ask_all(slow, ("a", 1), ("a", -2), ("a", 3))
    assert [answers[0], answers[2]] == [10, 30]
    assert isinstance(answers[1], LookupError)


async def test_what_breaks_a_turn_reaches_all_of_it_and_not_the_next(slow: Slow):
    answers = await ask_all(slow, ("a", 13), ("a", 2))
    assert isinstance(answers[0], ValueError)
    assert answers[1] == 20


async def test_an_asker_who_goes_away_stops_nobody(slow: Slow):
    together = Together[str, int, int](slow.work, name="test")
    first = asyncio.create_task(together.ask("a", 1))
    while not slow.turns:
        await asyncio.sleep(0.001)
    gone, stays = (asyncio.create_task(together.ask("a", n)) for n in (2, 3))
    await asyncio.sleep(0)
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    slow.go_on.set()
    assert await asyncio.gather(first, stays) == [10, 30]
