"""The three steps as a plain Prefect flow, as anyone would write it for speed."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from deployments.bench import steps
from domain.json_data import JsonObject


@task(name="Read request", cache_policy=NO_CACHE, persist_result=False)
async def read_request(request: JsonObject) -> JsonObject:
    """Read a request."""
    return steps.read_request(request)


@task(name="Qualify", cache_policy=NO_CACHE, persist_result=False)
async def qualify(criteria: JsonObject) -> JsonObject:
    """Score what was read."""
    return steps.qualify(criteria)


@task(name="Report", cache_policy=NO_CACHE, persist_result=False)
async def report(qualified: JsonObject) -> JsonObject:
    """Sum up."""
    return steps.report(qualified)


@flow(name="bench-bare", persist_result=False)
async def bare(number: int) -> JsonObject:
    """Run the three steps."""
    return await report(await qualify(await read_request(steps.make_input(number))))
