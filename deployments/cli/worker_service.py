"""`tenantry worker`: run a worker as a service of its own."""

from deployments.cli.invocation import DONE, Invoked
from deployments.cli.production import check_can_serve
from deployments.worker import main


def worker(*, call: Invoked) -> int:
    """Run a worker until it is stopped; on a machine of one's own `tenantry up` has one.

    Needs TENANTRY_DATABASE_URL (or the two roles' URLs), TENANTRY_AUDIT_KEY and PREFECT_API_URL.
    """
    check_can_serve(call)
    main()
    return DONE
