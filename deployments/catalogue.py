"""Write down which agent types there are, for the API, which loads no agent.

Importing this loads all agents, and pandas with them.
"""

from agents.registry import default_registry
from deployments.settings import Settings
from deployments.wiring import owner_url
from domain.catalog import AgentType
from persistence.agent_types import write_agent_types


def write_catalogue(settings: Settings) -> None:
    """Make the stored catalogue equal to this version's agents; again and again is once.

    Raises:
        SettingMissing: the owner's URL is not set.
    """
    types = [
        AgentType(
            type=info.type,
            description=info.description,
            config_schema=info.config_schema,
            example=info.example,
        )
        for info in default_registry().catalogue()
    ]
    write_agent_types(owner_url(settings), types)
