"""DBOS: the same three steps as one durable workflow, in a warm process.

The only place that imports DBOS. It is tried as coroutines and as threads, and the faster one
counts; a queue of its own would add two writes to each workflow.
"""

import asyncio
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal

from deployments.bench import steps
from deployments.bench.contenders import Answers, run_tasks, run_threads
from domain.json_data import JsonObject

Kind = Literal["coroutines", "threads"]
_KINDS: tuple[Kind, ...] = ("coroutines", "threads")
_TRY_AT_ONCE, _TRY_S = 8, 3.0
# One connection for each workflow at a time, and some for DBOS's own loops.
_POOL_SIZE = 40


async def serve(answers: Answers) -> None:
    """Answer until nobody asks any more."""
    setup = await asyncio.to_thread(answers.next_question)
    dbos: Any = import_module("dbos")
    dbos.DBOS(
        config={
            "name": "bench",
            "system_database_url": setup["database_url"],
            "sys_db_pool_size": _POOL_SIZE,
            "log_level": "ERROR",
        }
    )
    contender = _Workflows(dbos.DBOS)
    dbos.DBOS.launch()
    try:
        rates = {kind: await contender.try_out(kind) for kind in _KINDS}
        kind = max(_KINDS, key=lambda each: rates[each])
        answers.give({"version": version("dbos"), "kind": kind, "tried_per_s": {**rates}})
        while question := await asyncio.to_thread(answers.next_question):
            measured = await contender.measure(
                kind, at_once=question["at_once"], seconds=question["seconds"]
            )
            answers.give(measured)
    finally:
        dbos.DBOS.destroy()


class _Workflows:
    """The workflow, written twice: with coroutines and without."""

    def __init__(self, dbos: Any) -> None:
        read_one, qualify_one, report_one = (
            dbos.step(name=f"{each.__name__}_sync")(each)
            for each in (steps.read_request, steps.qualify, steps.report)
        )

        @dbos.step()
        async def read_request(request: JsonObject) -> JsonObject:
            return steps.read_request(request)

        @dbos.step()
        async def qualify(criteria: JsonObject) -> JsonObject:
            return steps.qualify(criteria)

        @dbos.step()
        async def report(qualified: JsonObject) -> JsonObject:
            return steps.report(qualified)

        @dbos.workflow()
        async def in_coroutines(number: int) -> JsonObject:
            return await report(await qualify(await read_request(steps.make_input(number))))

        @dbos.workflow()
        def in_threads(number: int) -> JsonObject:
            return report_one(qualify_one(read_one(steps.make_input(number))))

        self._in_coroutines: Any = in_coroutines
        self._in_threads: Any = in_threads

    async def measure(self, kind: Kind, *, at_once: int, seconds: float) -> JsonObject:
        if kind == "coroutines":
            return await run_tasks(self._in_coroutines, at_once=at_once, seconds=seconds)
        return await asyncio.to_thread(
            run_threads, self._in_threads, at_once=at_once, seconds=seconds
        )

    async def try_out(self, kind: Kind) -> float:
        """Get warm, and find out how many workflows a second this kind does."""
        await self.measure(kind, at_once=_TRY_AT_ONCE, seconds=1)
        tried = await self.measure(kind, at_once=_TRY_AT_ONCE, seconds=_TRY_S)
        return float(str(tried["count"])) / float(str(tried["elapsed_s"]))


if __name__ == "__main__":
    asyncio.run(serve(Answers()))
