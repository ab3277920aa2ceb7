"""`tenantry worker`: run a worker as a service of its own."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from deployments.cli.invocation import DONE, Invoked
from deployments.cli.production import check_can_serve
from deployments.worker import main


def worker(
    *,
    processes: Annotated[int | None, Parameter(validator=Number(gte=1, lte=64))] = None,
    call: Invoked,
) -> int:
    """Run a worker until it is stopped; on a machine of one's own `tenantry up` has one.

    Needs TENANTRY_DATABASE_URL (or the two roles' URLs), TENANTRY_AUDIT_KEY and PREFECT_API_URL.

    Args:
        processes: How many, each a process of its own, kept running by this one; else
            TENANTRY_WORKER_PROCESSES, which is 1 unless you set it.
    """
    check_can_serve(call)
    main(processes=processes)
    return DONE
