"""The benchmark's worker: the product's, with agents of its own and, if asked for, a profile."""

import sys
from pathlib import Path

from agents.registry import AgentRegistry
from deployments.bench.agents import bench_registry
from deployments.bench.profiling import profile_into
from deployments.prefect_worker import TenantryWorker
from deployments.worker import main

_ARGV = (sys.executable, "-m", "deployments.bench.worker")


class BenchWorker(TenantryWorker):
    """Knows the three steps."""

    type = "tenantry-bench"

    def make_registry(self) -> AgentRegistry:
        """Make the registry of the three steps."""
        return bench_registry()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with profile_into(Path(sys.argv[1])):
            main(BenchWorker, processes=1, argv=_ARGV)
    else:
        main(BenchWorker, argv=_ARGV)
