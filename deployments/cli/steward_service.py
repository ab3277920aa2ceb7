"""`tenantry steward`: run the steward as a service of its own."""

from deployments.cli.invocation import DONE, Invoked
from deployments.cli.production import check_can_serve
from deployments.steward import main


def steward(*, call: Invoked) -> int:
    """Run the steward until it is stopped; of several one works and the others stand by.

    Needs TENANTRY_DATABASE_URL (or the two roles' URLs), TENANTRY_AUDIT_KEY and PREFECT_API_URL.
    """
    check_can_serve(call)
    main()
    return DONE
