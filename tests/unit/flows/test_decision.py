"""An execution's end is decided by its own agent runs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agent_runs import AgentRun
from domain.errors import ErrorCode
from domain.executions import ExecutionStatus
from domain.ids import ExecutionId, RunId, new_agent_run_id
from domain.outcomes import AgentOutcome, AgentValue, Failure, Usage
from domain.runs import Ending
from domain.workflows import WorkflowDefinition
from flows.decision import decide
from tests.support.factories import chain

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STEP = {"type": "probe", "config": {}}
TWO = chain("Two", STEP, STEP)
ID = ExecutionId("exec_1")


def agent_run(name: str, kind: str, *, number: int = 1) -> AgentRun:
    """Make an agent run: `ok`, `fail` or `retry`able failure."""
    failure = Failure(
        ErrorCode.AGENT_FAILED, f"{name} said no", "Ask again.", retryable=kind == "retry"
    )
    outcome = AgentOutcome(
        value=AgentValue({"by": name}) if kind == "ok" else None,
        failure=None if kind == "ok" else failure,
        usage=Usage(3, Decimal("0.25")),
        duration_s=1.5,
    )
    at = NOON + timedelta(seconds=number)
    return AgentRun(
        id=new_agent_run_id(),
        execution_id=ID,
        run_id=RunId("run_1"),
        agent_name=name,
        attempt=number,
        outcome=outcome,
        started_at=at,
        completed_at=at,
    )


def end(runs, ending=Ending.BY_AGENTS, *, definition: WorkflowDefinition = TWO, may_retry=True):
    return decide(definition, ID, runs, ending=ending, may_retry=may_retry)


def test_all_agents_answered_completes_with_the_last_ones_answer():
    ended = end([agent_run("Step 1", "ok"), agent_run("Step 2", "ok", number=2)])
    assert ended.status is ExecutionStatus.COMPLETED
    assert ended.output == {"by": "Step 2"}
    assert ended.error is None


def test_several_last_agents_each_stand_under_their_name():
    fork = WorkflowDefinition.model_validate(
        {
            "name": "Fork",
            "agents": [{"name": name, **STEP} for name in ("A", "B", "C")],
            "edges": [{"from": "A", "to": "B"}, {"from": "A", "to": "C"}],
        }
    )
    ended = end([agent_run(name, "ok") for name in "ABC"], definition=fork)
    assert ended.output == {"B": {"by": "B"}, "C": {"by": "C"}}


def test_a_failure_that_was_made_good_does_not_count():
    runs = [agent_run("Step 1", "retry"), agent_run("Step 1", "ok", number=2)]
    ended = end([*runs, agent_run("Step 2", "ok", number=3)])
    assert ended.status is ExecutionStatus.COMPLETED
    assert ended.agent_results["Step 1"]["attempts"] == 2


def test_what_failed_attempts_cost_is_counted_too():
    runs = [agent_run("Step 1", "retry"), agent_run("Step 1", "ok", number=2)]
    ended = end([*runs, agent_run("Step 2", "ok", number=3)])
    assert ended.cost == Decimal("0.75")
    assert ended.tokens_used == 9


def test_a_failure_carries_its_own_code_message_and_hint():
    ended = end([agent_run("Step 1", "fail")])
    assert ended.status is ExecutionStatus.FAILED
    assert (ended.error.code, ended.error.message) == (ErrorCode.AGENT_FAILED, "Step 1 said no")
    assert ended.output is None
    assert ended.agent_results["Step 2"]["status"] == "SKIPPED"


def test_agents_that_were_never_asked_fail_an_ended_run():
    assert end([]).error.code is ErrorCode.EXECUTION_FAILED
    assert end([], Ending.TIMED_OUT).error.code is ErrorCode.AGENT_TIMED_OUT


def test_a_lost_execution_goes_back_until_its_attempts_are_used_up():
    assert end([agent_run("Step 1", "ok")], Ending.LOST) is None
    assert end([agent_run("Step 1", "retry")], Ending.LOST) is None
    ended = end([agent_run("Step 1", "ok")], Ending.LOST, may_retry=False)
    assert ended.error.code is ErrorCode.EXECUTION_LOST


def test_a_lost_execution_that_was_done_is_done():
    runs = [agent_run("Step 1", "ok"), agent_run("Step 2", "ok", number=2)]
    assert end(runs, Ending.LOST).status is ExecutionStatus.COMPLETED


def test_a_lost_execution_whose_failure_is_for_good_fails():
    assert end([agent_run("Step 1", "fail")], Ending.LOST).status is ExecutionStatus.FAILED


@given(
    st.lists(
        st.tuples(st.sampled_from(["Step 1", "Step 2"]), st.sampled_from(["ok", "fail", "retry"])),
        max_size=8,
    ),
    st.sampled_from(Ending),
    st.booleans(),
)
def test_every_end_is_final_and_only_a_failure_has_an_error(kinds, ending, may_retry):
    runs = [agent_run(name, kind, number=n) for n, (name, kind) in enumerate(kinds, start=1)]
    ended = end(runs, ending, may_retry=may_retry)
    if ended is None:
        assert ending is Ending.LOST
        assert may_retry
        return
    if ended.status is ExecutionStatus.FAILED:
        assert ended.error is not None
        assert ended.error.hint
    if ended.status is ExecutionStatus.COMPLETED:
        assert ended.output is not None
        assert ended.error is None
    assert set(ended.agent_results) == {"Step 1", "Step 2"}


@pytest.mark.parametrize("ending", list(Ending))
def test_a_cancellation_is_the_only_way_to_cancelled(ending):
    ended = end([agent_run("Step 1", "ok")], ending, may_retry=False)
    assert (ended.status is ExecutionStatus.CANCELLED) == (ending is Ending.CANCELLED)
