"""Lines of Prefect's engine that only look like trouble."""

import logging
from uuid import uuid4

import pytest
from prefect.states import Cancelled

from domain.ids import OrgId, RunId, WorkflowId
from domain.runs import Run
from flows.carried import carried_out
from flows.prefect_logs import quiet_engine_logs

FAILED = "Task run failed with state failure: Failed(message='1 failed')"
CRASHED = "Crash detected! Execution was cancelled by the runtime environment."


@pytest.fixture
def logger() -> logging.Logger:
    quiet_engine_logs()
    quiet_engine_logs()
    return logging.getLogger("prefect.task_runs")


def passed(logger: logging.Logger, text: str, **extra: object) -> logging.LogRecord | None:
    """Send a line through the logger's filters; `None` if it is dropped."""
    exc_info = extra.pop("exc_info", None)
    record = logger.makeRecord(
        logger.name, logging.ERROR, "engine.py", 1, text, (), exc_info, extra=extra
    )  # type: ignore[arg-type]
    return record if logger.filter(record) else None


def test_a_failed_state_is_logged_without_the_traceback_that_there_is_not(logger: logging.Logger):
    record = passed(logger, FAILED, exc_info=(None, None, None))
    assert record is not None
    shown = logging.Formatter().format(record)
    assert shown == FAILED


def test_an_exception_keeps_its_traceback(logger: logging.Logger):
    error = ValueError("why")
    record = passed(logger, "failed", exc_info=(ValueError, error, None))
    assert record is not None
    assert "ValueError: why" in logging.Formatter().format(record)


async def test_a_run_that_was_stopped_is_called_no_crash_and_any_other_is(logger: logging.Logger):
    flow_run_id = uuid4()
    run = Run(
        id=RunId("run_1"),
        org_id=OrgId("org_1"),
        workflow_id=WorkflowId("wf_1"),
        workflow_version=1,
        lease_token=uuid4(),
    )
    async with carried_out(flow_run_id, run) as carried:
        assert passed(logger, CRASHED, flow_run_id=str(flow_run_id)) is not None
        carried.stopping = Cancelled()
        assert passed(logger, CRASHED, flow_run_id=str(flow_run_id)) is None
        assert passed(logger, FAILED, flow_run_id=str(flow_run_id)) is not None
    assert passed(logger, CRASHED, flow_run_id=str(flow_run_id)) is not None
    assert passed(logger, CRASHED) is not None
