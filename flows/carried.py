"""The runs that this process carries out now, so that nobody has to ask the database for them.

Everything here is lost with the process, and nothing depends on it: hooks of a run that is not
here look its row up, and the steward does what was left undone.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State

from domain.agent_runs import AgentRun
from domain.executions import ExecutionStatus
from domain.ids import ExecutionId
from domain.runs import Run, RunState
from domain.workflows import WorkflowDefinition
from flows.opening import OpenedRun

_LOG = logging.getLogger("tenantry.runs")


Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class CarriedRun:
    """A run under way in this process, and what goes on beside it."""

    run: Run
    states: list[RunState] = field(default_factory=list[RunState])
    """What hooks were given, in order. Applied together, the last of them repairs the first."""
    opened: OpenedRun | None = None
    """What the flow takes over from the worker, which has read it while Prefect made the run."""
    definition: WorkflowDefinition | None = None
    """The workflow version that it runs, once that was read."""
    answers: dict[ExecutionId, list[AgentRun]] | None = None
    """What its agents have answered, once all of it is stored; the mirror need not read it."""
    has_version: bool = False
    """Prefect knows which version of its flow it is."""
    stopping: State[Any] | None = None
    """What it shall end as, and its tasks with it, once somebody has stopped it."""
    suspend: Callable[[State], None] | None = None
    """Has Prefect's engine pause the flow before its next agent; set while the flow runs."""
    ended: dict[ExecutionId, ExecutionStatus] = field(
        default_factory=dict[ExecutionId, ExecutionStatus]
    )
    """What was called off since it was claimed; the worker adds to it."""
    _is_left: asyncio.Event = field(default_factory=asyncio.Event)
    _has_end: bool = False
    _last: list[Work] = field(default_factory=list[Work])
    _beside: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def do_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what the run need not wait for; `carried_out` does. What it raises is logged."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._note_done)

    def do_last(self, work: Work) -> None:
        """Do something when the run is left, and its rows are written."""
        self._last.append(work)

    def note_end(self) -> None:
        """Note that the run's end is being written now."""
        self._has_end = True
        self._is_left.set()

    async def ends_within(self, seconds: float) -> bool:
        """Wait for the run's end, so long at most; say whether it came.

        No when the run is left without one, as by a worker that stops.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_left.wait()
        return self._has_end

    async def settle(self) -> None:
        """Do what was kept for later, and wait until nothing goes on beside the run."""
        self._is_left.set()
        kept, self._last = self._last, []
        for work in kept:
            self.do_beside(work())
        while self._beside:
            await asyncio.wait(self._beside)

    def _note_done(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOG.error("beside run %s: %s", self.run.id, type(error).__name__, exc_info=error)


_carried: dict[UUID, CarriedRun] = {}


def find_carried(flow_run_id: UUID) -> CarriedRun | None:
    """Find a run of this process by its Prefect flow run."""
    return _carried.get(flow_run_id)


@asynccontextmanager
async def carried_out(
    flow_run_id: UUID, run: Run, *, ended: dict[ExecutionId, ExecutionStatus] | None = None
) -> AsyncGenerator[CarriedRun]:
    """Let hooks and flows of this process find a run; leave when all beside it is done."""
    carried = CarriedRun(
        replace(run, prefect_flow_run_id=flow_run_id), ended={} if ended is None else ended
    )
    _carried[flow_run_id] = carried
    try:
        yield carried
    finally:
        try:
            await carried.settle()
        finally:
            if _carried.get(flow_run_id) is carried:
                del _carried[flow_run_id]
