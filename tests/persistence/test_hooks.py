"""Hooks write the same rows whether this process carries the run or knows nothing of it."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State, StateType

from agents.registry import default_registry
from domain.clock import utc_now
from domain.executions import Execution, ExecutionStatus
from domain.ids import ExecutionId
from domain.runs import Run
from flows.carried import carried_out, find_carried
from flows.hooks import record_state
from flows.mirror import to_run_state
from flows.run_identity import RunUnknown
from flows.runtime import Runtime, set_runtime
from persistence.executions import get_execution
from persistence.queue import claim_run
from persistence.runs import set_flow_run
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import queue, simple_workflow


async def nothing() -> None: ...


FLOW = Flow(nothing, name="nothing")


@pytest.fixture
def claimed(database: Database, tmp_path: Path) -> tuple[Run, ExecutionId, UUID]:
    set_runtime(Runtime(database=database, registry=default_registry(), data_root=tmp_path))
    added = queue(database, ACME, simple_workflow(database, ACME))
    flow_run_id = uuid4()
    with database.for_platform() as session:
        found = claim_run(session, worker="w", lease_s=30)
        assert found is not None
        set_flow_run(session, found.run, flow_run_id)
    return found.run, added.id, flow_run_id


def read(database: Database, id: ExecutionId) -> Execution:
    with database.org(ACME) as session:
        return get_execution(session, id)


def flow_run(id: UUID) -> FlowRun:
    return FlowRun(id=id, flow_id=uuid4())


def running() -> State:
    return State(type=StateType.RUNNING, id=uuid4(), timestamp=utc_now())


def test_a_run_that_is_not_in_memory_is_found_by_its_row(database: Database, claimed):
    _, id, flow_run_id = claimed
    asyncio.run(record_state(FLOW, flow_run(flow_run_id), running()))
    assert read(database, id).status is ExecutionStatus.RUNNING


def test_a_flow_run_that_nobody_knows_is_an_error(database: Database, claimed):
    with pytest.raises(RunUnknown):
        asyncio.run(record_state(FLOW, flow_run(uuid4()), running()))


def test_a_carried_run_is_written_before_it_is_left(database: Database, claimed):
    run, id, flow_run_id = claimed

    async def carry() -> None:
        async with carried_out(flow_run_id, run):
            await record_state(FLOW, flow_run(flow_run_id), running())

    asyncio.run(carry())
    assert read(database, id).status is ExecutionStatus.RUNNING
    assert find_carried(flow_run_id) is None


def test_the_final_state_brings_those_before_it_that_were_not_written(database: Database, claimed):
    run, id, flow_run_id = claimed
    start = running()
    end = State(type=StateType.FAILED, id=uuid4(), timestamp=start.timestamp + timedelta(seconds=1))

    async def carry() -> None:
        async with carried_out(flow_run_id, run) as carried:
            # What the hook noted before its write was lost.
            carried.states.append(to_run_state(start))
            await record_state(FLOW, flow_run(flow_run_id), end)

    asyncio.run(carry())
    ended = read(database, id)
    assert ended.status is ExecutionStatus.FAILED
    # Never before it was added, as far as anybody can see: two clocks may differ.
    assert ended.started_at == max(start.timestamp, ended.created_at)


def test_what_goes_on_beside_a_run_is_done_when_it_is_left(claimed, caplog):
    run, _, flow_run_id = claimed
    done: list[str] = []

    async def note(what: str) -> None:
        await asyncio.sleep(0.01)
        done.append(what)

    async def fail() -> None:
        raise ValueError("beside")

    async def carry() -> None:
        async with carried_out(flow_run_id, run) as carried:
            carried.do_last(lambda: note("last"))
            carried.do_beside(note("beside"))
            carried.do_beside(fail())
            assert done == []

    asyncio.run(carry())
    assert sorted(done) == ["beside", "last"]
    assert f"beside run {run.id}" in caplog.text
