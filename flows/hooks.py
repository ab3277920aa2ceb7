"""Prefect's state hooks. They translate and delegate; the steward does what they miss.

A hook may be skipped or repeated, and Prefect logs and swallows what it raises. Prefect passes
the arguments by name in some places: the parameters must be called `flow, flow_run, state`.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from prefect import Flow, get_client
from prefect.client.schemas.objects import FlowRun, State

from domain.executions import LeaseLost
from domain.runs import Run, RunState
from domain.workflows import WorkflowDefinition
from flows.carried import CarriedRun, find_carried
from flows.fencing import find_lease
from flows.mirror import Answers, apply, to_run_state
from flows.run_identity import find_run_of
from flows.runtime import Runtime, get_runtime

_LOG = logging.getLogger("tenantry.flows")
# Nobody sees a status that is shown for less, and it costs as much as all other rows of a run of
# one execution.
_MOMENT_S = 0.15


async def record_state(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Mirror a state that Prefect has stored: its id is the one in the history.

    That a run has started is written beside its agents, which need not wait for it, and of a run
    that is over in a moment together with its end. Order does not matter to the mirror.
    """
    runtime = get_runtime()
    carried = find_carried(flow_run.id)
    if carried is None:
        run = await asyncio.to_thread(find_run_of, runtime, flow_run.id)
        await _mirror(runtime, run, flow_run, [to_run_state(state)])
        return
    carried.states.append(to_run_state(state))
    told = list(carried.states)
    if state.is_running():
        carried.do_beside(_mirror_start(runtime, carried, flow_run, told))
        return
    carried.note_end()
    await _mirror(
        runtime,
        carried.run,
        flow_run,
        told,
        definition=carried.definition,
        answers=carried.answers,
    )


async def record_cancelling(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Mirror a cancelled or crashed run from its history.

    The state that such a hook is given may be made up on the client, and a crash means something
    else when the run was being cancelled.
    """
    runtime = get_runtime()
    carried = find_carried(flow_run.id)
    if carried is not None:
        run = carried.run
    else:
        run = await asyncio.to_thread(find_run_of, runtime, flow_run.id)
    async with get_client() as client:
        history = await client.read_flow_run_states(flow_run.id)
    await _mirror(runtime, run, flow_run, [to_run_state(state) for state in history])


async def _mirror_start(
    runtime: Runtime, carried: CarriedRun, flow_run: FlowRun, told: Sequence[RunState]
) -> None:
    if not await carried.ends_within(_MOMENT_S):
        await _mirror(runtime, carried.run, flow_run, told)


async def _mirror(
    runtime: Runtime,
    run: Run,
    flow_run: FlowRun,
    states: Sequence[RunState],
    *,
    definition: WorkflowDefinition | None = None,
    answers: Answers | None = None,
) -> None:
    try:
        await asyncio.to_thread(
            apply,
            runtime.database,
            run,
            states,
            max_attempts=runtime.max_attempts,
            definition=definition,
            answers=answers,
            lease=find_lease(flow_run.id),
        )
    except LeaseLost:
        # This process was asleep, and others have the executions: the steward mirrors this run.
        _LOG.info("run %s is another's: nothing is mirrored", run.id)
