"""A worker process that knows the probe agent. `--no-hooks` leaves all mirroring to the steward."""

import sys
from typing import ClassVar

from agents.registry import AgentRegistry
from deployments.prefect_worker import TenantryWorker
from deployments.worker import main
from tests.support.agents import probe_registry


class ProbeWorker(TenantryWorker):
    type = "tenantry-probe"

    def make_registry(self) -> AgentRegistry:
        return probe_registry()


class HooklessWorker(ProbeWorker):
    hooks: ClassVar[bool] = False
    type = "tenantry-hookless"


if __name__ == "__main__":
    main(HooklessWorker if "--no-hooks" in sys.argv else ProbeWorker)
