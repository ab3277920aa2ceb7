"""What a worker tells the database of its leases, each in its own transaction."""

import logging

from agents.registry import AgentTypeUnknown
from domain.errors import TenantryError
from domain.lost_runs import LossCause
from domain.runs import Run
from flows.runtime import Runtime
from persistence.queue import forget_worker
from persistence.run_losses import note_broken_off, spare_runs
from persistence.runs import end_lease, is_fenced

_LOG = logging.getLogger("tenantry.worker")


def break_off(runtime: Runtime, run: Run, error: Exception) -> None:
    """Give up a run that cannot be carried out here, because of what its definition needs."""
    # Another worker may carry what this one does not; anything else will be so next time.
    cause = LossCause.BESIDE if isinstance(error, AgentTypeUnknown) else LossCause.OWN
    with runtime.database.org(run.org_id) as session:
        note_broken_off(session, run, cause=cause)


def let_go(runtime: Runtime, run: Run) -> None:
    """End the lease on a run that this worker leaves: whoever resumes it need not wait."""
    with runtime.database.for_platform() as session:
        end_lease(session, run)


def is_run_fenced(runtime: Runtime, run: Run) -> bool:
    """Say whether a run was taken from this worker."""
    with runtime.database.for_platform() as session:
        return is_fenced(session, run)


def sign_off(runtime: Runtime, worker: str) -> None:
    """Note that a worker takes nothing any more."""
    with runtime.database.for_platform() as session:
        forget_worker(session, worker)


def spare(runtime: Runtime, worker: str) -> None:
    """Note that a worker breaks off what it carries because it stops; its runs are not to blame."""
    try:
        with runtime.database.for_platform() as session:
            spare_runs(session, worker)
    except TenantryError as error:
        _LOG.warning("runs that are broken off may lose an attempt: %s", error.message)
