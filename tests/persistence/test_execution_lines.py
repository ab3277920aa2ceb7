"""Starts and ends of executions and agents are told in the process log, without their content."""

import logging

import pytest

from domain.agent_runs import AgentRun
from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.ids import new_agent_run_id
from domain.outcomes import AgentOutcome, AgentValue, Failure
from persistence.agent_runs import add_agent_runs
from persistence.execution_moves import finish_executions
from persistence.happenings_log import ExecutionSample
from persistence.queue import claim_run
from persistence.sessions import Database
from tests.support.databases import ACME
from tests.support.factories import ending, queue, simple_workflow

CANARY = "canary7f3a"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "tenantry.executions"]


def test_ends_are_told_once_when_committed_and_without_content(
    database: Database, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="tenantry")
    workflow = simple_workflow(database, ACME, name=CANARY)
    execution = queue(database, ACME, workflow, {"text": CANARY})
    with database.for_platform() as session:
        claimed = claim_run(session, worker="w", lease_s=60)
    assert claimed is not None
    run, now = claimed.run, utc_now()
    failure = Failure(ErrorCode.AGENT_FAILED, CANARY, CANARY, retryable=False)
    outcomes = [AgentOutcome(value=AgentValue({"a": CANARY})), AgentOutcome(failure=failure)]
    answers = [
        AgentRun(
            id=new_agent_run_id(),
            execution_id=execution.id,
            run_id=run.id,
            agent_name=CANARY,
            attempt=1,
            outcome=outcome,
            started_at=now,
            completed_at=now,
        )
        for outcome in outcomes
    ]
    with database.org(ACME) as session:
        add_agent_runs(session, run, CANARY, answers)
        assert lines(caplog) == []
    ids = f"execution_id={execution.id} org_id={ACME} run_id={run.id}"
    completed, failed = lines(caplog)
    assert completed.startswith(f"agent.ended {ids} agent_run_id={answers[0].id} status=COMPLETED")
    assert f"agent_run_id={answers[1].id} status=FAILED code=agent.failed" in failed
    for _ in range(2):
        with database.org(ACME) as session:
            finish_executions(session, [ending(execution)], at=now, started_at=now, state=None)
    assert lines(caplog)[2:] == [f"execution.ended {ids} status=COMPLETED code=None"]
    assert CANARY not in caplog.text


def test_what_is_rolled_back_is_not_told(database: Database, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="tenantry")
    execution = queue(database, ACME, simple_workflow(database, ACME))
    ends = [ending(execution)]
    with database.org(ACME) as session:
        assert finish_executions(session, ends, at=utc_now(), started_at=None, state=None) == 1
        session.rollback()
    assert lines(caplog) == []


def test_a_sample_keeps_all_lines_of_an_execution_or_none():
    def keeps(sample: ExecutionSample, id: str) -> set[bool]:
        record = logging.makeLogRecord({"execution_id": id})
        return {sample.filter(record) for _ in range(5)}

    ids = [f"exec_{number}" for number in range(2_000)]
    some = [keeps(ExecutionSample(0.25), id) for id in ids]
    assert all(len(each) == 1 for each in some)
    assert 400 < some.count({True}) < 600
    assert all(keeps(ExecutionSample(1), id) == {True} for id in ids)
    assert all(keeps(ExecutionSample(0), id) == {False} for id in ids)
