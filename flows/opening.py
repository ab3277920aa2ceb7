"""Read what a run needs before its first agent, in one transaction."""

from agents.interface import Connectors
from domain.runs import Run
from domain.workflows import WorkflowDefinition
from flows.connectors import make_connectors
from flows.run_book import RunBook, open_book
from flows.runtime import Runtime

OpenedRun = tuple[RunBook, Connectors]


def open_run(runtime: Runtime, run: Run, definition: WorkflowDefinition) -> OpenedRun:
    """Read a run's book, and the connectors of its organization. Nothing is written."""
    with runtime.database.org(run.org_id) as session:
        book = open_book(runtime.database, session, run, definition)
        return book, make_connectors(runtime, session)
