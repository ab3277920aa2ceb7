"""Which of our runs a Prefect flow run is."""

from uuid import UUID

from domain.errors import ErrorCode, TenantryError
from domain.runs import Run
from flows.runtime import Runtime
from persistence.runs import find_run


class RunUnknown(TenantryError):
    """A Prefect flow run has no row of ours."""

    code = ErrorCode.INTERNAL

    def __init__(self, flow_run_id: UUID) -> None:
        super().__init__(
            f"Prefect's flow run `{flow_run_id}` is not known here.",
            hint="Start it through a Tenantry worker, which makes its row first.",
        )


def find_run_of(runtime: Runtime, flow_run_id: UUID) -> Run:
    """Find the run of a Prefect flow run.

    Raises:
        RunUnknown: there is none.
    """
    with runtime.database.for_platform() as session:
        run = find_run(session, flow_run_id)
    if run is None:
        raise RunUnknown(flow_run_id)
    return run
