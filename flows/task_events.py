"""What Prefect is told of task runs: each state that lasts, and each one that says something.

Prefect's server does as much for an event of a task run as for a call of a flow run, and an agent
that answers in a moment has three of them: Pending, Running, and its end. The first two are held
back for that moment here, and dropped if the next state comes meanwhile, which has all that they
had: when the task began, how often it ran, for how long.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import task_engine
from prefect.client.schemas.objects import State, TaskRun
from prefect.events import related
from prefect.events.schemas.events import Event
from prefect.utilities.engine import emit_task_run_state_change_event

from flows.carried import find_carried

_ENGINES_NAME = emit_task_run_state_change_event.__name__
_MOMENT_S = 0.2
# Task runs whose engine left them without an end, as when a flow is suspended, are forgotten then.
_KEPT = 4096
_RELATED_KEPT = 4000
# States that only say that a task is on its way to the next one.
_PASSING = frozenset({"Pending", "Running", "Retrying"})

Emit = Callable[..., Event | None]


@dataclass(slots=True)
class _Told:
    """What was said of a task run that is under way."""

    last: Event | None = None
    waiting: asyncio.TimerHandle | None = None


class TaskEvents:
    """Says of each task run of this process what Prefect shall hear, in the order of its states."""

    def __init__(
        self, emit: Emit = emit_task_run_state_change_event, *, moment_s: float = _MOMENT_S
    ) -> None:
        self._emit = emit
        self._moment_s = moment_s
        self._told: OrderedDict[UUID, _Told] = OrderedDict()

    @property
    def under_way(self) -> int:
        """How many task runs it remembers."""
        return len(self._told)

    def tell(
        self,
        task_run: TaskRun,
        initial_state: State[Any] | None,
        validated_state: State[Any],
        follows: Event | None = None,
    ) -> Event | None:
        """Tell Prefect a task run's state, now or in a moment; what the task engine calls.

        Returns:
            The last event that was sent of this task run, if one was.
        """
        validated_state = _as_stopped(task_run, validated_state)
        told = self._told_of(task_run.id, follows)
        if told.waiting is not None:
            told.waiting.cancel()
            told.waiting = None
        loop = _running_loop()
        if validated_state.name in _PASSING and loop is not None:
            # The engine goes on to change this task run; the event is of now.
            kept = task_run.model_copy()

            def send() -> None:
                told.waiting = None
                self._send(kept, initial_state, validated_state, told)

            told.waiting = loop.call_later(self._moment_s, send)
        else:
            self._send(task_run, initial_state, validated_state, told)
        if validated_state.is_final():
            self._told.pop(task_run.id, None)
        return told.last

    def _told_of(self, task_run_id: UUID, follows: Event | None) -> _Told:
        told = self._told.setdefault(task_run_id, _Told(follows))
        while len(self._told) > _KEPT:
            self._told.popitem(last=False)
        return told

    def _send(
        self, task_run: TaskRun, initial: State[Any] | None, state: State[Any], told: _Told
    ) -> None:
        sent = self._emit(
            task_run=task_run, initial_state=initial, validated_state=state, follows=told.last
        )
        told.last = sent or told.last


def _as_stopped(task_run: TaskRun, state: State[Any]) -> State[Any]:
    # The engine knows only that its task was cancelled, and calls that a crash.
    carried = find_carried(task_run.flow_run_id) if task_run.flow_run_id else None
    if carried is None or carried.stopping is None or not state.is_crashed():
        return state
    end = carried.stopping
    return state.model_copy(
        update={"type": end.type, "name": end.name, "message": end.message, "data": None}
    )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    # Tasks that are not coroutines run in a thread of their own.
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def spare_prefect_events() -> None:
    """Have Prefect's engine in this process tell of tasks what lasts; again, nothing changes.

    The engine has no place for this: its own name for the function is set anew. And to say which
    flow and deployment an event belongs to it reads both anew, unless they are among the last
    hundred things that it has read: two calls for each run, where many workflows take turns.
    """
    related.MAX_CACHE_SIZE = max(related.MAX_CACHE_SIZE, _RELATED_KEPT)
    if getattr(task_engine, _ENGINES_NAME) is emit_task_run_state_change_event:
        setattr(task_engine, _ENGINES_NAME, TaskEvents().tell)
