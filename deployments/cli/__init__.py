"""The command line `tenantry`."""

from deployments.cli.application import main

__all__ = ["main"]
