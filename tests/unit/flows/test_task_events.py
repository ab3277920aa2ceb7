"""What Prefect hears of task runs: what lasts, in order, with nothing lost."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import State, TaskRun
from prefect.events.schemas.events import Event, Resource
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Pending,
    Retrying,
    Running,
)

from domain.ids import OrgId, RunId, WorkflowId
from domain.runs import Run
from flows.carried import carried_out
from flows.task_events import TaskEvents

_MOMENT_S = 0.05


@dataclass
class _Listener:
    """Keeps what would be sent to Prefect."""

    sent: list[tuple[str, int, str | None]] = field(
        default_factory=list[tuple[str, int, str | None]]
    )
    names: dict[Any, str] = field(default_factory=dict[Any, str])

    def emit(
        self,
        *,
        task_run: TaskRun,
        initial_state: State[Any] | None,
        validated_state: State[Any],
        follows: Event | None,
    ) -> Event:
        event = Event(
            event=f"prefect.task-run.{validated_state.name}",
            resource=Resource.model_validate({"prefect.resource.id": "prefect.task-run.x"}),
            id=validated_state.id,
            occurred=validated_state.timestamp,
        )
        before = self.names[follows.id] if follows else None
        self.names[event.id] = str(validated_state.name)
        self.sent.append((str(validated_state.name), task_run.run_count, before))
        return event


def _task_run() -> TaskRun:
    return TaskRun(id=uuid4(), task_key="x", dynamic_key="0")


async def _tell(events: TaskEvents, task_run: TaskRun, *states: State[Any] | float) -> Event | None:
    """Tell states one after the other; a number is a pause in seconds."""
    last, follows = None, None
    for state in states:
        if isinstance(state, float):
            await asyncio.sleep(state)
            continue
        if state.name in ("Running", "Retrying"):
            task_run.run_count += 1
        follows = events.tell(task_run, last, state, follows)
        last = state
    return follows


async def test_of_a_task_that_is_over_in_a_moment_only_the_end_is_told() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
    await _tell(events, _task_run(), Pending(), Running(), Completed())
    await asyncio.sleep(_MOMENT_S * 3)
    assert listener.sent == [("Completed", 1, None)]


async def test_of_a_task_that_takes_longer_its_running_is_told_as_it_was_then() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
    task_run = _task_run()
    follows = await _tell(events, task_run, Pending(), Running(), _MOMENT_S * 3)
    task_run.run_count = 7
    events.tell(task_run, Running(), Completed(), follows)
    assert listener.sent == [("Running", 1, None), ("Completed", 7, "Running")]


async def test_a_retry_is_told_though_it_comes_at_once() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
    again = AwaitingRetry()
    await _tell(events, _task_run(), Pending(), Running(), again, Retrying(), Completed())
    await asyncio.sleep(_MOMENT_S * 3)
    assert listener.sent == [("AwaitingRetry", 1, None), ("Completed", 2, "AwaitingRetry")]


async def test_a_task_that_cannot_begin_says_so() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
    await _tell(events, _task_run(), Pending(), Pending(name="NotReady"))
    assert listener.sent == [("NotReady", 0, None)]


async def test_tasks_side_by_side_do_not_drop_each_other_s_states() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
    slow, fast = _task_run(), _task_run()
    await asyncio.gather(
        _tell(events, slow, Pending(), Running(), _MOMENT_S * 3, Crashed()),
        _tell(events, fast, Pending(), Running(), Completed()),
    )
    assert listener.sent == [
        ("Completed", 1, None),
        ("Running", 1, None),
        ("Crashed", 1, "Running"),
    ]


def test_in_a_thread_without_a_loop_every_state_is_told() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
    task_run = _task_run()
    events.tell(task_run, None, Pending())
    events.tell(task_run, None, Completed())
    assert [name for name, _, _ in listener.sent] == ["Pending", "Completed"]


async def test_task_runs_that_never_end_are_forgotten() -> None:
    listener = _Listener()
    events = TaskEvents(listener.emit, moment_s=60)
    for _ in range(5000):
        events.tell(_task_run(), None, Pending())
    assert events.under_way < 5000


def test_a_task_of_a_stopped_run_ends_as_its_run_does_and_any_other_crash_stays_one():
    async def run() -> list[str]:
        listener = _Listener()
        events = TaskEvents(listener.emit, moment_s=_MOMENT_S)
        flow_run_id = uuid4()
        mine = Run(
            id=RunId("run_1"),
            org_id=OrgId("org_1"),
            workflow_id=WorkflowId("wf_1"),
            workflow_version=1,
            lease_token=uuid4(),
        )
        async with carried_out(flow_run_id, mine) as carried:
            for stopping in (None, Cancelled(message="asked"), Failed(message="too late")):
                carried.stopping = stopping
                task_run = _task_run()
                task_run.flow_run_id = flow_run_id
                await _tell(events, task_run, Pending(), Running(), Crashed())
            await _tell(events, task_run, Pending(), Running(), Completed())
        return [name for name, _, _ in listener.sent]

    assert asyncio.run(run()) == ["Crashed", "Cancelled", "Failed", "Completed"]
