"""Executions of many organizations that are created, run and end, as they do in real use."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import cycle, islice
from uuid import uuid4

from domain.catalog import Workflow
from domain.clock import utc_now
from domain.errors import ErrorCode
from domain.executions import ExecutionError, ExecutionStatus, TransitionRefused
from domain.ids import ExecutionId, OrgId
from domain.runs import RunState, StateType
from persistence.execution_batches import add_batch
from persistence.execution_cancel import request_cancel
from persistence.execution_moves import FinishedExecution, finish_executions, start_executions
from persistence.execution_targets import ExecutionWish
from persistence.organizations import ensure_member, ensure_organization
from persistence.queue import claim_run
from persistence.runs import close_run
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.databases import ADMIN
from tests.support.factories import queue, simple_workflow

_ENDS = (
    ExecutionStatus.COMPLETED,
    ExecutionStatus.COMPLETED,
    ExecutionStatus.FAILED,
    ExecutionStatus.CANCELLED,
)
_BATCH, _SINGLES = 25, 5
_TOKEN_LIFE = timedelta(hours=1)
_ERROR = ExecutionError(ErrorCode.AGENT_FAILED, "It did not work.", "Try again.")


def add_tenants(database: Database, count: int) -> dict[OrgId, tuple[Workflow, str]]:
    """Make organizations, each with a workflow and an administrator's token."""
    tenants: dict[OrgId, tuple[Workflow, str]] = {}
    for number in range(1, count + 1):
        org_id = OrgId(f"org_{number:03d}")
        with database.for_platform() as session:
            ensure_organization(session, org_id, name=f"Org {number}", slug=f"org-{number}")
            ensure_member(session, org_id, ADMIN, name="Admin", role="admin")
        with database.org(org_id, user_id=ADMIN) as session:
            expires_at = utc_now() + _TOKEN_LIFE
            _, secret = add_token(session, ADMIN, name="test", expires_at=expires_at)
        tenants[org_id] = (simple_workflow(database, org_id), secret)
    return tenants


def live_through(
    database: Database,
    workflows: Sequence[tuple[OrgId, Workflow]],
    *,
    executions: int,
    threads: int = 4,
) -> None:
    """Give each workflow so many executions and bring all to their ends, in several threads.

    Some come alone and most in batches; some are cancelled in the queue, unless another thread
    was faster; the others run, and complete, fail or are cancelled.

    Args:
        executions: a multiple of 25.
    """

    def live(number: int) -> None:
        for org_id, workflow in workflows[number::threads]:
            _create(database, org_id, workflow, count=executions)
            _work(database, worker=str(number))

    with ThreadPoolExecutor(threads) as pool:
        # An error of any thread is raised here.
        list(pool.map(live, range(threads)))


def _create(database: Database, org_id: OrgId, workflow: Workflow, *, count: int) -> None:
    wish = ExecutionWish(workflow=workflow.id, labels={})
    inputs = [{"text": f"find leads {number}"} for number in range(_BATCH - _SINGLES)]
    for _ in range(count // _BATCH):
        ids = [queue(database, org_id, workflow).id for _ in range(_SINGLES)]
        with database.org(org_id, user_id=ADMIN) as session:
            add_batch(session, wish, inputs, batch_id=f"batch_{uuid4().hex}")
        with suppress(TransitionRefused), database.org(org_id, user_id=ADMIN) as session:
            request_cancel(session, ids[0])


def _work(database: Database, worker: str) -> None:
    while True:
        with database.for_platform() as session:
            claimed = claim_run(session, worker=worker, lease_s=60, size=_BATCH)
        if claimed is None:
            return
        org_id, run_id = claimed.run.org_id, claimed.run.id
        running = running_state()
        with database.org(org_id) as session:
            start_executions(session, run_id, state=running, at=running.at)
        ends = [
            _end(id, status)
            for id, status in zip(
                claimed.execution_ids, islice(cycle(_ENDS), len(claimed.execution_ids)), strict=True
            )
        ]
        for part in (ends[::2], ends[1::2]):
            with database.org(org_id) as session:
                finish_executions(session, part, at=utc_now(), started_at=None, state=None)
        with database.org(org_id) as session:
            close_run(session, run_id)


def running_state() -> RunState:
    """Make the state that Prefect would say of a run that starts now."""
    return RunState(uuid4(), StateType.RUNNING, "Running", utc_now())


def _end(id: ExecutionId, status: ExecutionStatus) -> FinishedExecution:
    return FinishedExecution(
        id=id,
        status=status,
        error=_ERROR if status is ExecutionStatus.FAILED else None,
        agent_results={},
        execution_graph={},
    )
