"""Three trivial agents as a plain Prefect flow: what Prefect itself costs, and nothing of ours."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE


@task(cache_policy=NO_CACHE, persist_result=False)
async def answer(heard: dict[str, str]) -> dict[str, str]:
    """Answer at once."""
    return heard


@flow(persist_result=False)
async def bare() -> dict[str, str]:
    """Ask three agents, one after the other."""
    heard = {"text": "find leads"}
    for _ in range(3):
        heard = await answer(heard)
    return heard
