"""A worker process that knows the probe agent.

`--no-hooks` leaves all mirroring to the steward; `--broken` cannot be started.
"""

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


class BrokenWorker(ProbeWorker):
    type = "tenantry-broken"

    def make_registry(self) -> AgentRegistry:
        raise RuntimeError("an agent that cannot be made")


KINDS = {"--no-hooks": HooklessWorker, "--broken": BrokenWorker}


if __name__ == "__main__":
    own = [KINDS[argument] for argument in sys.argv[1:]]
    main(
        own[0] if own else ProbeWorker,
        argv=(sys.executable, "-m", "tests.support.worker_main", *sys.argv[1:]),
    )
