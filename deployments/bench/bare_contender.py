"""Bare Prefect: the flow called in a warm process that keeps one client open."""

import asyncio

from prefect.context import AsyncClientContext

from deployments.bench.bare_flow import bare
from deployments.bench.contenders import Answers, run_tasks


async def serve(answers: Answers) -> None:
    """Answer until nobody asks any more."""
    await asyncio.to_thread(answers.next_question)
    async with AsyncClientContext.get_or_create():
        await run_tasks(bare, at_once=1, seconds=1)
        answers.give({})
        while question := await asyncio.to_thread(answers.next_question):
            measured = await run_tasks(
                bare, at_once=question["at_once"], seconds=question["seconds"]
            )
            answers.give(measured)


if __name__ == "__main__":
    asyncio.run(serve(Answers()))
