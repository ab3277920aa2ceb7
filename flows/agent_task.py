"""An agent as a Prefect task: one task handles the agent's items of a whole run."""

import logging
import math
from collections.abc import Sequence
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from agents.interface import Agent, AgentConfig, AgentContext, Connectors
from domain.errors import ErrorCode, TenantryError
from domain.executions import LeaseLost
from domain.ids import RunId
from domain.json_checks import find_json_problems
from domain.json_data import JsonObject
from domain.outcomes import AgentInput, AgentOutcome, Failure
from domain.workflows import AgentNode
from flows.decision import is_retryable
from flows.hanging import note_run_of_task
from flows.redaction import redact_errors
from flows.run_book import RunBook, broken_agent

# Prefect's generics do not say what a call with `return_state` gives: the caller casts.
AgentTask = Task[..., Any]

_LOG = logging.getLogger("tenantry.agents")
_RETRY = "WillRetry"
_JITTER = 0.5
_BATCH_GRACE_S = 5.0

# The books of the runs that this process carries out. Task parameters are visible in Prefect, so
# a task is given a run's id and finds the rest here.
_open_books: dict[RunId, tuple[RunBook, Connectors]] = {}


def open_for_tasks(book: RunBook, connectors: Connectors) -> None:
    """Let this process's tasks find a run's book."""
    _open_books[book.run.id] = (book, connectors)


def find_open_book(run_id: RunId) -> RunBook | None:
    """Find the book of a run whose agents this process is asking."""
    found = _open_books.get(run_id)
    return found[0] if found else None


def mark_lost(run_id: RunId) -> None:
    """Note that a run was taken from this process, before it is stopped."""
    book = find_open_book(run_id)
    if book is not None:
        book.is_lost = True


def close_for_tasks(book: RunBook) -> None:
    """Forget a run's book."""
    _open_books.pop(book.run.id, None)


def make_agent_task(node: AgentNode, agent: Agent[Any]) -> AgentTask:
    """Make the Prefect task of one agent; retries and the time limit are Prefect's to keep."""
    config: AgentConfig = agent.read_config(node.config)
    options = node.options

    async def work(run_id: str) -> State:
        book, connectors = _open_books[RunId(run_id)]
        with redact_errors(f"agent {node.name!r} of run {run_id}"):
            return await attempt(book, connectors)

    async def attempt(book: RunBook, connectors: Connectors) -> State:
        items = book.items_for(node)
        note_run_of_task(book.run.id)
        book.begin_attempt(node, items)
        await book.save(node.name)  # an attempt before this one that ran out of time
        context: AgentContext[Any] = AgentContext(
            agent_name=node.name,
            config=config,
            connectors=connectors,
            log=logging.getLogger(f"tenantry.agents.{node.type}"),
            item_timeout_s=options.timeout_s if len(items) > 1 else None,
        )
        outcomes = await _ask(agent, items, context)
        book.end_attempt(node, items, outcomes)
        await book.save(node.name)
        return _state(book, node, attempts_left=_run_count() <= options.retries)

    return Task(
        work,
        name=node.name,
        # Not a template: a name with braces in it would be read as one.
        task_run_name=lambda: node.name,
        retries=options.retries,
        retry_delay_seconds=_delays(options.retries, options.retry_delay_s),
        retry_jitter_factor=_JITTER if options.retry_delay_s > 0 else None,
        retry_condition_fn=_may_pass,
        timeout_seconds=options.timeout_s,
        # A cache shared by all tenants' tasks of one source, and answers kept in Prefect: never.
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=False,
    )


def _delays(retries: int, base_s: float) -> list[float] | float:
    # Prefect asks for one delay per retry, and refuses an empty list.
    return exponential_backoff(base_s)(retries) if retries and base_s > 0 else base_s


def _may_pass(task: AgentTask, task_run: TaskRun, state: State) -> bool:
    # Prefect asks with the state that we returned, which says whether it can help, or with one
    # that it made from what was raised: only the time limit's may pass by itself.
    return state.name == _RETRY or isinstance(state.data, TimeoutError)


def _run_count() -> int:
    context = TaskRunContext.get()
    return context.task_run.run_count if context else 1


def batch_timeout_s(node: AgentNode, agent: Agent[Any], count: int) -> float:
    """Say how long an agent may take for a batch, in seconds.

    The limit of the options is for an item. A batch is handled some at a time, each within its
    own limit; the task's is behind that, for an agent that does not keep it.
    """
    limit_s = node.options.timeout_s
    if count <= 1:
        return limit_s
    return limit_s * math.ceil(count / agent.concurrency) + _BATCH_GRACE_S


async def _ask(
    agent: Agent[Any], items: Sequence[AgentInput], context: AgentContext[Any]
) -> Sequence[AgentOutcome]:
    outcomes = await _ask_once(agent, items, context)
    if outcomes is not None:
        return outcomes
    if len(items) > 1:
        # It broke over one of them: alone, that one cannot take its neighbours along.
        return [
            outcome
            for item in items
            for outcome in await _ask_once(agent, [item], context) or [_broken(context)]
        ]
    return [_broken(context)]


async def _ask_once(
    agent: Agent[Any], items: Sequence[AgentInput], context: AgentContext[Any]
) -> Sequence[AgentOutcome] | None:
    """Ask an agent; `None` if it broke, or did not answer for each item."""
    try:
        outcomes = list(await agent.run(items, context))
    except LeaseLost:
        raise
    except TenantryError as error:
        failure = Failure(error.code, error.message, error.hint, error.retryable)
        return [AgentOutcome(failure=failure) for _ in items]
    except Exception:
        # Whatever it was, its text may hold a tenant's data: it goes to our own log only.
        ids = ", ".join(item.execution_id for item in items[:20])
        _LOG.exception("agent %r failed as a whole for %s", context.agent_name, ids)
        return None
    if len(outcomes) != len(items):
        _LOG.error("agent %r gave %d outcomes", context.agent_name, len(outcomes))
        return None
    return [_checked(outcome, context.agent_name) for outcome in outcomes]


def _broken(context: AgentContext[Any]) -> AgentOutcome:
    return AgentOutcome(failure=broken_agent(context.agent_name))


def _checked(outcome: AgentOutcome, agent_name: str) -> AgentOutcome:
    if outcome.value is None:
        return outcome
    answer: JsonObject = dict(outcome.value.data)
    answer["records"] = list(outcome.value.records or ())
    problems = find_json_problems(answer, pointer="", code=ErrorCode.AGENT_FAILED)
    if not problems:
        return outcome
    _LOG.error("agent %r answered what is no JSON: %s", agent_name, problems[0].pointer)
    return AgentOutcome(
        failure=broken_agent(agent_name), usage=outcome.usage, duration_s=outcome.duration_s
    )


def _state(book: RunBook, node: AgentNode, *, attempts_left: bool) -> State:
    failed, answered = book.failed_items(node.name), book.answered_items(node.name)
    if not failed:
        return Completed(message=f"{len(answered)} answered")
    codes = sorted({run.outcome.failure.code.value for run in failed if run.outcome.failure})
    total = len(failed) + len(answered)
    text = f"{len(failed)} of {total} failed: {', '.join(codes)}"
    again = [run for run in failed if is_retryable(run)]
    if again and attempts_left:
        return Failed(name=_RETRY, message=f"{text}; {len(again)} will be tried again")
    if answered:
        return Completed(name="PartiallyFailed", message=text)
    return Failed(message=text)


def is_failed_state(state: State) -> bool:
    """Say whether a task's final state means that none of its items was answered."""
    return state.type in (StateType.FAILED, StateType.CRASHED)
