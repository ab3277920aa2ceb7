"""Keep a worker that was asleep from speaking for runs that others have by now.

A frozen process does not notice that its lease ended. The database refuses its writes by the
lease token; Prefect knows no tokens and would take its word, so the flow leaves without one.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from prefect.exceptions import Abort

from domain.executions import LeaseLost
from domain.runs import Run
from flows.run_book import RunBook

# The leases under which this process carries out flow runs. Hooks are given a flow run and no
# more, and what the database says of it now is not what this process was promised.
_leases: dict[UUID, UUID] = {}


def note_lease(flow_run_id: UUID, lease: UUID) -> None:
    """Remember under which token this process carries out a flow run."""
    _leases[flow_run_id] = lease


def forget_lease(flow_run_id: UUID) -> None:
    """Forget a flow run that this process has carried out."""
    _leases.pop(flow_run_id, None)


def find_lease(flow_run_id: UUID) -> UUID | None:
    """Find the token under which this process carries out a flow run, if it does."""
    return _leases.get(flow_run_id)


def check_lease(flow_run_id: UUID, run: Run) -> None:
    """Make sure that a run is still under the token under which this process was given it.

    Raises:
        LeaseLost: it was taken away between the claim and the start of its flow.
    """
    if find_lease(flow_run_id) not in (None, run.lease_token):
        raise LeaseLost(run.id)


@contextmanager
def stop_when_taken(book: RunBook) -> Generator[None]:
    """Turn the cancellation of a run that was taken from this worker into its reason."""
    try:
        yield
    except asyncio.CancelledError:
        if book.is_lost:
            raise LeaseLost(book.run.id) from None
        raise


@contextmanager
def leave_when_fenced() -> Generator[None]:
    """Leave the flow without any state, where the run was taken from this worker.

    `Abort` is what Prefect's engine raises when the server tells it to go away: it proposes
    nothing, and no hook is called.
    """
    try:
        yield
    except LeaseLost as error:
        raise Abort(error.message) from None
    except BaseExceptionGroup as group:
        # From the flow's task group, which may hold several.
        if group.subgroup(LeaseLost) is None:
            raise
        raise Abort("The lease on this run is lost.") from None
