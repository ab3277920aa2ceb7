"""`tenantry demo`: see it work, from nothing to leads."""

from deployments.cli.invocation import Invoked
from deployments.demo import run_demo


def demo(*, call: Invoked) -> int:
    """Start everything, load a real list of companies, and find leads in it."""
    return run_demo(call.settings, as_json=call.as_json)
