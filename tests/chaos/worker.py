"""A worker process that knows the unreliable agent."""

from agents.registry import AgentRegistry
from deployments.prefect_worker import TenantryWorker
from deployments.worker import main
from tests.chaos.agents import registry


class ChaosWorker(TenantryWorker):
    type = "tenantry-chaos"

    def make_registry(self) -> AgentRegistry:
        return registry()


if __name__ == "__main__":
    main(ChaosWorker)
