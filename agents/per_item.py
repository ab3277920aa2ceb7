"""Run an agent's work item by item: bounded, in order, one failure never touching another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter

from agents.interface import Agent, AgentContext, ConfigT
from domain.errors import ErrorCode, TenantryError
from domain.outcomes import (
    AgentInput,
    AgentOutcome,
    AgentValue,
    Failure,
    timed_out_failure,
)


async def run_per_item(
    items: Sequence[AgentInput],
    handle: Callable[[AgentInput], Awaitable[AgentValue | AgentOutcome]],
    *,
    context: AgentContext[ConfigT],
    concurrency: int = Agent.concurrency,
) -> tuple[AgentOutcome, ...]:
    """Handle every item and return one outcome for each, in the order of the items.

    At most `concurrency` items (from 1) are handled at a time. What an item raises becomes its
    own failed outcome, and so does its taking longer than `context.item_timeout_s`; cancellation
    passes through and ends the whole batch.
    """
    slots = asyncio.Semaphore(concurrency)

    async def run_one(item: AgentInput) -> AgentOutcome:
        async with slots:
            return await _outcome_of(item, handle, context=context)

    return tuple(await asyncio.gather(*(run_one(item) for item in items)))


def fail_every(
    items: Sequence[AgentInput], error: TenantryError, *, duration_s: float = 0.0
) -> tuple[AgentOutcome, ...]:
    """Give every item the same failed outcome, for what the whole batch depends on."""
    failure = failure_of(error)
    return tuple(AgentOutcome(failure=failure, duration_s=duration_s) for _ in items)


def failure_of(error: TenantryError) -> Failure:
    """Turn one of our errors into an item's failure, words and all."""
    return Failure(error.code, error.message, error.hint, retryable=error.retryable)


def unexpected_failure(
    item: AgentInput, error: Exception, *, agent_name: str, log: logging.Logger
) -> Failure:
    """Log an error that nobody foresaw and describe it without its text.

    An exception's text may quote records, passwords and addresses: the tenant gets none of it.
    """
    log.error(
        "Agent %r failed on execution %s with %s.",
        agent_name,
        item.execution_id,
        type(error).__name__,
        exc_info=error,
        extra={"execution_id": item.execution_id},
    )
    return Failure(
        ErrorCode.AGENT_FAILED,
        f"`{agent_name}` stopped because of an unexpected error.",
        f"Ask whoever runs the service to look up {item.execution_id} in the worker's log.",
        retryable=True,
    )


async def _outcome_of(
    item: AgentInput,
    handle: Callable[[AgentInput], Awaitable[AgentValue | AgentOutcome]],
    *,
    context: AgentContext[ConfigT],
) -> AgentOutcome:
    started = perf_counter()
    limit = asyncio.timeout(context.item_timeout_s)
    try:
        async with limit:
            given = await handle(item)
    except TenantryError as error:
        return AgentOutcome(failure=failure_of(error), duration_s=perf_counter() - started)
    # One of many items must not end the others: this is the loop that has to go on.
    except Exception as error:
        if limit.expired() and context.item_timeout_s is not None:
            failure = timed_out_failure(context.agent_name, context.item_timeout_s)
            return AgentOutcome(failure=failure, duration_s=perf_counter() - started)
        failure = unexpected_failure(item, error, agent_name=context.agent_name, log=context.log)
        return AgentOutcome(failure=failure, duration_s=perf_counter() - started)
    if isinstance(given, AgentOutcome):
        return given
    return AgentOutcome(value=given, duration_s=perf_counter() - started)
