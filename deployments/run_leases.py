"""What a worker tells the database of the lease on one of its runs, each in its own transaction."""

from domain.runs import Run
from flows.runtime import Runtime
from persistence.run_losses import note_broken_off
from persistence.runs import end_lease, is_fenced


def break_off(runtime: Runtime, run: Run) -> None:
    """Give up a run that cannot be carried out for a reason of its own."""
    with runtime.database.org(run.org_id) as session:
        note_broken_off(session, run)


def let_go(runtime: Runtime, run: Run) -> None:
    """End the lease on a run that this worker leaves: whoever resumes it need not wait."""
    with runtime.database.for_platform() as session:
        end_lease(session, run)


def is_run_fenced(runtime: Runtime, run: Run) -> bool:
    """Say whether a run was taken from this worker."""
    with runtime.database.for_platform() as session:
        return is_fenced(session, run)
