"""Read what a run needs before its first agent, in one transaction."""

from agents.interface import Connectors
from domain.runs import Run
from domain.workflows import WorkflowDefinition
from flows.connectors import make_connectors
from flows.run_book import RunBook, open_book, read_carried_work
from flows.runtime import Runtime
from persistence.runs import hold_lease

OpenedRun = tuple[RunBook, Connectors]


def open_run(
    runtime: Runtime, run: Run, definition: WorkflowDefinition, *, held: bool = False
) -> OpenedRun:
    """Read a run's book, and the connectors of its organization; end what was called off.

    Args:
        held: make sure that the run is still under the token that the caller has, and open.

    Raises:
        LeaseLost: the run was taken from this worker.
    """
    with runtime.database.org(run.org_id) as session:
        if held:
            hold_lease(session, run)
        work = read_carried_work(session, run)
        connectors = make_connectors(runtime, session)
    # After the transaction: what is called off is ended in one of its own.
    return open_book(runtime.database, run, definition, work), connectors
