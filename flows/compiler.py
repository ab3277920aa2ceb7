"""Compile a workflow definition into a Prefect flow: one task an agent, in the graph's order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.flows import FlowStateHook
from prefect.states import Completed, Failed

from agents.interface import Agent
from domain.ids import WorkflowId
from domain.workflows import AgentNode, WorkflowDefinition
from flows.agent_task import (
    AgentTask,
    batch_timeout_s,
    close_for_tasks,
    make_agent_task,
    open_for_tasks,
)
from flows.artifacts import add_agent_table
from flows.calling_off import ended_state
from flows.carried import CarriedRun, find_carried
from flows.fencing import check_lease, leave_when_fenced, stop_when_taken
from flows.hooks import record_cancelling, record_state
from flows.naming import flow_name
from flows.opening import OpenedRun, open_run
from flows.redaction import redact_errors
from flows.run_book import RunBook
from flows.run_identity import find_run_of
from flows.runtime import Runtime
from persistence.patience import keep_trying

CompiledFlow = Flow[..., Any]


@dataclass(frozen=True, slots=True)
class CompiledWorkflow:
    """A workflow version as Prefect runs it."""

    flow: CompiledFlow
    tasks: Mapping[str, AgentTask]
    definition: WorkflowDefinition


def compile_workflow(
    runtime: Runtime,
    definition: WorkflowDefinition,
    *,
    workflow_id: WorkflowId,
    version: int,
    org_slug: str,
    workflow_slug: str,
) -> CompiledWorkflow:
    """Turn a definition into a flow. Nothing runs, and nothing is written.

    The flow takes a run's id and no more: Prefect's users see parameters. Flow retries stay at
    0, since they would ask agents again that have answered.

    Raises:
        KeyError, ValidationError: an agent type or config that the catalogue does not know;
            definitions are checked before they are stored, so the catalogue has changed.
    """
    agents = {node.name: runtime.registry.get(node.type) for node in definition.agents}
    tasks = {node.name: make_agent_task(node, agents[node.name]) for node in definition.agents}

    async def carry(run: str | None = None) -> State:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            raise RuntimeError("a compiled flow runs inside Prefect's engine only")
        with redact_errors(f"flow run {context.flow_run.id}"), leave_when_fenced():
            return await _carry(runtime, context, context.flow_run.id, definition, tasks, agents)

    carry.__name__ = carry.__qualname__ = str(workflow_id)
    hooks: list[FlowStateHook[..., Any]] = [record_state] if runtime.hooks else []
    unsure_hooks: list[FlowStateHook[..., Any]] = [record_cancelling] if runtime.hooks else []
    entry: Callable[..., Any] = carry
    flow: CompiledFlow = Flow(
        entry,
        name=flow_name(org_slug, workflow_slug),
        version=str(version),
        retries=0,
        persist_result=False,
        # Never written to. Without one the engine asks Prefect for its default, at every run.
        result_storage=runtime.data_root,
        log_prints=False,
        # There is one, which the flow does not read; the check would build a model at every run.
        validate_parameters=False,
        on_running=hooks,
        on_completion=hooks,
        on_failure=hooks,
        on_crashed=unsure_hooks,
        on_cancellation=unsure_hooks,
    )
    return CompiledWorkflow(flow, tasks, definition)


async def _carry(
    runtime: Runtime,
    context: FlowRunContext,
    flow_run_id: UUID,
    definition: WorkflowDefinition,
    tasks: Mapping[str, AgentTask],
    agents: Mapping[str, Agent[Any]],
) -> State:
    carried = find_carried(flow_run_id)
    book, connectors = await _take_opened(runtime, carried, flow_run_id, definition)
    if carried is not None:
        # Nothing is awaited from here until the book is open: whoever calls off finds one of both.
        book.drop(carried.ended)
        carried.suspend = context.flow_run_suspension_request.mark_requested
    open_for_tasks(book, connectors)
    try:
        with stop_when_taken(book):
            await _walk(book, tasks, agents)
    finally:
        close_for_tasks(book)
    # Here, and not where its picture is drawn: what comes next is the final state.
    await book.check_held()
    if carried is not None:
        carried.answers = book.list_answers()
    client = cast(PrefectClient, context.client)

    async def draw() -> None:
        await add_agent_table(client, flow_run_id, book, execution_url=runtime.execution_url)

    if carried is None:
        await draw()
    else:
        carried.do_last(draw)
    return _final_state(book)


async def _take_opened(
    runtime: Runtime,
    carried: CarriedRun | None,
    flow_run_id: UUID,
    definition: WorkflowDefinition,
) -> OpenedRun:
    if carried is not None:
        # Taken once: a flow that Prefect calls again begins with what is stored.
        opened, carried.opened = carried.opened, None
        if opened is not None:
            await opened[0].check_held()
            return opened

    def read() -> OpenedRun:
        run = find_run_of(runtime, flow_run_id)
        check_lease(flow_run_id, run)
        return open_run(runtime, run, definition)

    return await asyncio.to_thread(keep_trying, read)


async def _walk(
    book: RunBook, tasks: Mapping[str, AgentTask], agents: Mapping[str, Agent[Any]]
) -> None:
    """Run every agent after the ones that lead to it; independent ones side by side."""
    nodes = book.definition.ordered_agents()
    states: dict[str, State] = {}
    ended = {node.name: asyncio.Event() for node in nodes}

    async def step(node: AgentNode) -> None:
        for name in book.definition.upstream_of(node.name):
            await ended[name].wait()
        items = book.items_for(node)
        if items:
            upstream = [
                states[name]
                for name in book.definition.upstream_of(node.name)
                # A failed one would keep this task from starting, for all items.
                if name in states and states[name].type is StateType.COMPLETED
            ]
            task = tasks[node.name]
            limit_s = batch_timeout_s(node, agents[node.name], len(items))
            if limit_s != node.options.timeout_s:
                task = task.with_options(timeout_seconds=limit_s)
            # Outside of the task: what the database takes is not the agent's time.
            await book.note_asked()
            ask = cast(Callable[..., Awaitable[State]], task)
            state = await ask(book.run.id, return_state=True, wait_for=upstream)
            states[node.name] = state
            book.close_agent(node, timed_out=state.name == "TimedOut")
            await book.save(node.name)
        ended[node.name].set()

    try:
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(step(node), name=node.name)
    except BaseExceptionGroup as errors:
        # Prefect's engine knows its own signal only by itself: suspended, not crashed.
        paused = [error for error in errors.exceptions if isinstance(error, Pause)]
        if len(paused) == len(errors.exceptions):
            raise paused[0] from None
        raise


def _final_state(book: RunBook) -> State:
    total, done = len(book.executions), book.completed_count()
    if not total and book.called_off:
        return ended_state(book.called_off.values())
    if done == total:
        return Completed(message=f"{done} completed")
    if done == 0:
        return Failed(message=f"{total} failed")
    return Completed(name="PartiallyFailed", message=f"{done} completed, {total - done} failed")
