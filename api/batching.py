"""Questions that are asked at the same time are answered together.

Each asker would otherwise cost a thread, a connection and a transaction of its own. Whoever asks
while an answer is being worked out waits in line, and the next turn takes all of the line along.
Who comes alone is answered at once: nobody waits for company.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Line = TypeVar("Line", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Line, Item, Answer]):
    """Answers questions in lines: like with like. Lives in one event loop.

    Args:
        work: answers the items of a line, in their order; an exception in place of an answer is
            raised to its asker. Runs in a thread.
        most: how many are answered in one turn.
        threads: how many lines are worked on at a time; each takes one connection.
    """

    def __init__(
        self,
        work: Callable[[Line, Sequence[Item]], Sequence[Answer | Exception]],
        *,
        name: str,
        most: int = 64,
        threads: int = 4,
    ) -> None:
        self._work, self._most = work, most
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        # A line that is there has a task that works on it.
        self._lines: dict[Line, deque[tuple[Item, asyncio.Future[Answer | Exception]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, line: Line, item: Item) -> Answer:
        """Wait for the answer to one item.

        Raises:
            Exception: what `work` gave in its place.
        """
        future: asyncio.Future[Answer | Exception] = asyncio.get_running_loop().create_future()
        waiting = self._lines.get(line)
        if waiting is None:
            self._lines[line] = deque([(item, future)])
            task = asyncio.create_task(self._serve(line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            waiting.append((item, future))
        answer = await future
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _serve(self, line: Line) -> None:
        waiting = self._lines[line]
        try:
            while waiting:
                turn = [waiting.popleft() for _ in range(min(len(waiting), self._most))]
                await self._answer(line, turn)
        finally:
            # Between the last look and this there is no await: nobody joins a line that is gone.
            del self._lines[line]
            for _, future in waiting:
                future.cancel()

    async def _answer(
        self, line: Line, turn: list[tuple[Item, asyncio.Future[Answer | Exception]]]
    ) -> None:
        loop = asyncio.get_running_loop()
        items = [item for item, _ in turn]
        answers: Sequence[Answer | Exception]
        try:
            answers = await loop.run_in_executor(self._threads, self._work, line, items)
        except Exception as error:
            # Whatever happens, nobody is left waiting.
            answers = [error for _ in turn]
        for (_, future), answer in zip(turn, answers, strict=True):
            # An asker who went away has cancelled its future.
            if not future.done():
                future.set_result(answer)
